using System.Collections.Concurrent;
using Scheduler.Leases;
using Scheduler.Locking;
using Scheduler.Testing;

namespace Scheduler.Tests.Conformance;

/// <summary>A replica as Core runs it, with a clock of its own and a way to the server that can be broken.</summary>
internal sealed class TestReplica(ReplicaIdentity identity, LockProvider locks, FaultyLeaseStore way, PacedTime time, LogCapture log)
    : IAsyncDisposable
{
    // A test that does not need the handle any more must not abandon the lease by that.
    private readonly ConcurrentBag<Lease> _handles = [];

    public ReplicaIdentity Identity { get; } = identity;

    public LockProvider Locks { get; } = locks;

    public FaultyLeaseStore Way { get; } = way;

    public PacedTime Time { get; } = time;

    public LogCapture Log { get; } = log;

    /// <summary>Makes one that has not contacted its store.</summary>
    public static TestReplica Create(Func<ReplicaIdentity, TimeProvider, ILeaseStore> createStore, LeaseOptions options, LockStoreUse use)
    {
        var identity = ReplicaIdentity.Create("replica");
        var time = new PacedTime();
        var way = new FaultyLeaseStore(createStore(identity, time));
        var log = new LogCapture();
        return new TestReplica(identity, new LockProvider(way, options, identity, time, log, new NewStore { Use = use }), way, time, log);
    }

    /// <summary>Waits until its store is checked.</summary>
    public async Task StartAsync(TimeSpan within)
    {
        await Locks.StartAsync(TestContext.Current.CancellationToken);
        await Eventually.Holds(() => Locks.Health.IsUp && Locks.Info is not null, within, "the lock provider has checked its store");
    }

    /// <summary>Takes a key that must be free.</summary>
    public async Task<Lease> AcquireAsync(LockKey key, TimeSpan duration, string purpose = "test")
    {
        var lease = Assert.IsType<LockAttempt.Granted>(await Locks.TryAcquireAsync(key, purpose, duration)).Lease;
        _handles.Add(lease);
        return lease;
    }

    /// <summary>Asks until the key is granted; as long as the store is unavailable it asks on.</summary>
    public async Task<Lease> AcquireWhenFreeAsync(LockKey key, TimeSpan duration, TimeSpan within)
    {
        Lease? lease = null;
        await Eventually.Holds(
            async () => (lease = (await Locks.TryAcquireAsync(key, "test", duration) as LockAttempt.Granted)?.Lease) is not null,
            within,
            $"'{key}' is granted to {Identity.Id}"
        );
        _handles.Add(lease!);
        return lease!;
    }

    /// <summary>Releases what this test took by itself and still has.</summary>
    public Task ReleaseAllAsync() => Task.WhenAll(_handles.Where(l => l.IsHeld).Select(l => l.ReleaseAsync().AsTask()));

    public async ValueTask DisposeAsync()
    {
        Way.Heal();
        Time.Run();
        await Locks.DisposeAsync();
        await Way.DisposeAsync();
        await Time.DisposeAsync();
    }
}
