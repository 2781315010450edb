using System.Globalization;
using Scheduler.Hosting;
using Scheduler.Locking;
using Scheduler.Redis;
using Scheduler.Redis.Redlock;
using Scheduler.Testing;
using Scheduler.Testing.Servers;
using Scheduler.Time;

namespace Scheduler.Tests.Redis;

/// <summary>Independent Redis servers, and replicas that use them as one Redlock, on real clocks with short times.</summary>
public sealed class RedlockCluster : IAsyncDisposable
{
    public static readonly TimeSpan LongestLease = TimeSpan.FromSeconds(2);
    public static readonly TimeSpan CallTimeout = TimeSpan.FromMilliseconds(500);

    private readonly List<RedlockTestClient> _clients = [];

    private RedlockCluster(RedisServer[] servers) => Servers = servers;

    public RedisServer[] Servers { get; }

    public static async Task<RedlockCluster> StartAsync(int nodes, RedisPersistence persistence = RedisPersistence.None) =>
        new(
            await Task.WhenAll(
                Enumerable.Range(0, nodes).Select(_ => RedisServer.StartAsync(new RedisServerOptions { Persistence = persistence }))
            )
        );

    /// <summary>A replica whose store is not checked yet.</summary>
    public RedlockTestClient NewClient(TimeProvider? time = null, IEnumerable<string>? endpoints = null, TimeSpan? callTimeout = null)
    {
        var client = new RedlockTestClient(
            endpoints ?? Servers.Select(s => s.ConnectionString),
            time ?? BootTimeProvider.Instance,
            callTimeout
        );
        _clients.Add(client);
        return client;
    }

    /// <summary>A replica that may ask for locks; the first one declares the servers new.</summary>
    public async Task<RedlockTestClient> ConnectAsync(TimeProvider? time = null, TimeSpan? callTimeout = null)
    {
        var client = NewClient(time, callTimeout: callTimeout);
        await client.CheckUntilUsableAsync(_clients.Count == 1 ? LockStoreUse.Unused : LockStoreUse.Used);
        return client;
    }

    /// <summary>The same, and all servers count for it: on a busy machine the last of them may pass its check later.</summary>
    public async Task<RedlockTestClient> ConnectToAllAsync(TimeSpan? callTimeout = null)
    {
        var client = await ConnectAsync(callTimeout: callTimeout);
        await Eventually.Holds(async () =>
        {
            // A server that does not count is looked at when the store is used.
            await client.TryAsync("job:nobody-else's");
            return client.Log.Count(2051) - client.Log.Count(2050) >= Servers.Length;
        });
        return client;
    }

    /// <summary>On how many servers a key is held.</summary>
    public async Task<int> HoldersAsync(string key, IEnumerable<int>? servers = null)
    {
        var held = await Task.WhenAll(
            (servers ?? Enumerable.Range(0, Servers.Length)).Select(i => Servers[i].CommandAsync("EXISTS", $"test:lock:{key}"))
        );
        return held.Sum(h => int.Parse(h, CultureInfo.InvariantCulture));
    }

    /// <summary>From now on each server votes for a key with another number, all of them ahead of the replicas' proposals.</summary>
    public Task SetNumbersApartAsync(string key)
    {
        var counter = (string)new RedlockKeys(new RedisNames("test", 0)).CounterFor(key)!;
        return Task.WhenAll(
            Servers.Select((s, i) => s.CommandAsync("INCRBY", counter, $"{(i + 1) * (long)TimeSpan.FromHours(1).TotalMicroseconds}"))
        );
    }

    public async ValueTask DisposeAsync()
    {
        foreach (var client in _clients)
        {
            await client.Store.DisposeAsync();
        }
        await Task.WhenAll(Servers.Select(s => s.DisposeAsync().AsTask()));
    }
}

/// <summary>One replica's Redlock store and everything that it logged.</summary>
public sealed class RedlockTestClient
{
    private long _acquisitions;

    public RedlockTestClient(IEnumerable<string> endpoints, TimeProvider time, TimeSpan? callTimeout = null) =>
        Store = new RedlockLeaseStore(
            [.. endpoints],
            new BackendContext(
                "test",
                Replica,
                new LeaseOptions
                {
                    LongestLease = RedlockCluster.LongestLease,
                    CallTimeout = callTimeout ?? RedlockCluster.CallTimeout,
                    ProbeInterval = TimeSpan.FromMilliseconds(100),
                },
                time,
                Log
            )
        );

    public ReplicaIdentity Replica { get; } = ReplicaIdentity.Create("replica");

    public RedlockLeaseStore Store { get; }

    public LogCapture Log { get; } = new();

    private static CancellationToken Stop => TestContext.Current.CancellationToken;

    public LeaseOwner NewOwner() => new(Replica.Id, Interlocked.Increment(ref _acquisitions));

    public async Task<LeaseStoreInfo> CheckAsync(LockStoreUse use = LockStoreUse.Used) => await Store.CheckAsync(use, Stop);

    public async Task<StoreUnavailableException> ExpectRefusedAsync(LockStoreUse use = LockStoreUse.Used) =>
        await Assert.ThrowsAsync<StoreUnavailableException>(() => CheckAsync(use));

    public async Task<LeaseStoreInfo> CheckUntilUsableAsync(LockStoreUse use = LockStoreUse.Used)
    {
        LeaseStoreInfo? info = null;
        await Eventually.Holds(
            async () =>
            {
                try
                {
                    info = await CheckAsync(use);
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
        return info!;
    }

    public async Task<AcquireResult> TryAsync(string key = "job:a", LeaseOwner? owner = null, TimeSpan? duration = null) =>
        await Store.AcquireAsync(
            new AcquireRequest(LockKey.From(key), owner ?? NewOwner(), "test", duration ?? RedlockCluster.LongestLease),
            Stop
        );

    /// <summary>Takes a key that must be free.</summary>
    public async Task<RedlockGrant> AcquireAsync(string key = "job:a", TimeSpan? duration = null)
    {
        var owner = NewOwner();
        var answer = await TryAsync(key, owner, duration);
        var granted = answer as AcquireResult.Granted;
        Assert.True(granted is not null, answer.ToString());
        return new RedlockGrant(LockKey.From(key), owner, granted.Number);
    }

    public async Task<ReleaseResult> ReleaseAsync(RedlockGrant grant) => await Store.ReleaseAsync(grant.Key, grant.Owner, Stop);

    public async Task<RenewalOutcome> RenewAsync(RedlockGrant grant, TimeSpan? duration = null) =>
        Assert.Single(
            (
                await Store.RenewAsync(
                    [new RenewalItem(grant.Key, grant.Owner, grant.Number, duration ?? RedlockCluster.LongestLease)],
                    Stop
                )
            ).Outcomes
        );
}

/// <summary>A grant that a test has.</summary>
public sealed record RedlockGrant(LockKey Key, LeaseOwner Owner, long Number);
