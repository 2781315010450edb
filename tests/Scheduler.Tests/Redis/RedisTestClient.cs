using System.Collections.Concurrent;
using Microsoft.Extensions.Logging;
using Scheduler.Hosting;
using Scheduler.Locking;
using Scheduler.Redis;
using Scheduler.Testing.Servers;
using Scheduler.Time;

namespace Scheduler.Tests.Redis;

/// <summary>One replica's Redis store on real clocks, with short times, and everything that it logged.</summary>
public sealed class RedisTestClient : IAsyncDisposable, ILoggerFactory, ILogger
{
    public static readonly TimeSpan LongestLease = TimeSpan.FromSeconds(2);
    public static readonly TimeSpan CallTimeout = TimeSpan.FromMilliseconds(500);

    private long _acquisitions;

    public RedisTestClient(RedisServer server, string group = "test", TimeSpan? callTimeout = null)
        : this(server.ConnectionString, group, callTimeout) { }

    public RedisTestClient(string connectionString, string group = "test", TimeSpan? callTimeout = null) =>
        Store = new RedisLeaseStore(
            connectionString,
            new BackendContext(
                group,
                Replica,
                new LeaseOptions { LongestLease = LongestLease, CallTimeout = callTimeout ?? CallTimeout },
                BootTimeProvider.Instance,
                this
            )
        );

    public ReplicaIdentity Replica { get; } = ReplicaIdentity.Create("replica");

    public RedisLeaseStore Store { get; }

    public ConcurrentQueue<string> Logged { get; } = [];

    private static CancellationToken Stop => TestContext.Current.CancellationToken;

    public LeaseOwner NewOwner() => new(Replica.Id, Interlocked.Increment(ref _acquisitions));

    public async Task<LeaseStoreInfo> CheckAsync(LockStoreUse use = LockStoreUse.Used) => await Store.CheckAsync(use, Stop);

    /// <summary>Checks a store that must not be usable yet.</summary>
    public async Task<StoreUnavailableException> ExpectRefusedAsync(LockStoreUse use = LockStoreUse.Used) =>
        await Assert.ThrowsAsync<StoreUnavailableException>(() => CheckAsync(use));

    /// <summary>Checks again and again, as Core does, until the store may be used.</summary>
    public Task CheckUntilUsableAsync(LockStoreUse use = LockStoreUse.Used) =>
        Scheduler.Testing.Eventually.Holds(
            async () =>
            {
                try
                {
                    await CheckAsync(use);
                    return true;
                }
                catch (StoreUnavailableException problem)
                {
                    Assert.False(problem.IsPermanent, problem.Message);
                    return false;
                }
            },
            what: "the store may be used"
        );

    public async Task<AcquireResult> TryAsync(string key = "job:a", LeaseOwner? owner = null) =>
        await Store.AcquireAsync(new AcquireRequest(LockKey.From(key), owner ?? NewOwner(), "test", LongestLease), Stop);

    public async Task<AcquireResult.Granted> ExpectGrantedAsync(string key = "job:a", LeaseOwner? owner = null) =>
        Assert.IsType<AcquireResult.Granted>(await TryAsync(key, owner));

    public async Task<AcquireResult.Unavailable> ExpectUnavailableAsync(string key = "job:a") =>
        Assert.IsType<AcquireResult.Unavailable>(await TryAsync(key));

    public async ValueTask DisposeAsync()
    {
        await Store.DisposeAsync();
        GC.SuppressFinalize(this);
    }

    public void Dispose() { }

    public void AddProvider(ILoggerProvider provider) => throw new NotSupportedException();

    public ILogger CreateLogger(string categoryName) => this;

    public IDisposable? BeginScope<TState>(TState state)
        where TState : notnull => null;

    public bool IsEnabled(LogLevel logLevel) => true;

    public void Log<TState>(
        LogLevel logLevel,
        EventId eventId,
        TState state,
        Exception? exception,
        Func<TState, Exception?, string> formatter
    ) => Logged.Enqueue($"{eventId.Id} {formatter(state, exception)} {exception}");
}
