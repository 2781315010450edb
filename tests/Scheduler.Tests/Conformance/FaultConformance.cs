using Microsoft.Extensions.Logging.Abstractions;
using Scheduler.Hosting;
using Scheduler.Leases;
using Scheduler.Locking;
using Scheduler.Testing;
using Scheduler.Testing.Servers.Faults;

namespace Scheduler.Tests.Conformance;

/// <summary>
/// What every store with servers must do while the network between it and them is broken, its servers end, or their clocks are stepped:
/// real clients of the real servers, with a <see cref="FaultProxy"/> in between. Others look on beside the proxy.
/// </summary>
public abstract partial class FaultConformance<TFixture>(ProxiedFixture<TFixture> fixture)
    : IClassFixture<ProxiedFixture<TFixture>>,
        IAsyncLifetime
    where TFixture : class, INetworkedFixture, new()
{
    /// <summary>How long a test waits for something that comes soon on an idle machine.</summary>
    private static readonly TimeSpan Bound = TimeSpan.FromSeconds(15);

    /// <summary>A lease that outlasts every test: a key that is free before its end was given back.</summary>
    private static readonly TimeSpan Long = TimeSpan.FromSeconds(30);

    private static readonly TimeSpan CallTimeout = TimeSpan.FromMilliseconds(500);

    private readonly List<TestReplica> _replicas = [];
    private readonly string _group = $"test-{Guid.NewGuid():n}";

    private ProxiedFixture<TFixture> Fixture { get; } = fixture;

    private FaultSeed Seed => Fixture.Seed;

    /// <summary>In no other test, so that a cut meets only what belongs to this one.</summary>
    private LockKey Key { get; } = LockKey.From($"job:{Guid.NewGuid():n}");

    private static CancellationToken Stop => TestContext.Current.CancellationToken;

    public ValueTask InitializeAsync() => ValueTask.CompletedTask;

    public async ValueTask DisposeAsync()
    {
        GC.SuppressFinalize(this);
        Heal();
        foreach (var replica in Enumerable.Reverse(_replicas))
        {
            // What is left held would keep its session alive, beside the next test.
            await replica.ReleaseAllAsync();
            await replica.DisposeAsync();
        }
        await Eventually.Holds(() => Fixture.Proxies.All(p => p.Connections == 0), Bound, "connections are closed");
    }

    /// <summary>One replica behind the proxy and one beside it.</summary>
    private async Task<(TestReplica Behind, TestReplica Beside)> StartTwoAsync() => (await StartBehindAsync(), await StartBesideAsync());

    private Task<TestReplica> StartBehindAsync(Action<LeaseOptions>? change = null) => StartAsync(throughProxy: true, change);

    private Task<TestReplica> StartBesideAsync() => StartAsync(throughProxy: false, change: null);

    private async Task<TestReplica> StartAsync(bool throughProxy, Action<LeaseOptions>? change)
    {
        var options = new LeaseOptions { CallTimeout = CallTimeout, ProbeInterval = TimeSpan.FromMilliseconds(50) };
        change?.Invoke(options);
        var replica = TestReplica.Create(
            (identity, time) =>
                Fixture.CreateStore(new BackendContext(_group, identity, options, time, NullLoggerFactory.Instance), throughProxy),
            options,
            Fixture.Use
        );
        _replicas.Add(replica);
        await replica.StartAsync(Bound);
        return replica;
    }

    /// <summary>Takes a key, and waits until others see by whom: a store may write that down a moment after the grant, and a holder that
    /// falls silent within that moment blocks the key for longer.</summary>
    private async Task<Lease> AcquireSeenAsync(TestReplica holder, TestReplica beside, TimeSpan duration)
    {
        var lease = await holder.AcquireAsync(Key, duration);
        await Eventually.Holds(async () => await beside.Locks.ReadAsync(Key, Stop) is not null, Bound, "others see the grant");
        return lease;
    }

    private void Each(Action<FaultProxy> change)
    {
        foreach (var proxy in Fixture.Proxies)
        {
            change(proxy);
        }
    }

    private void Heal() => Each(proxy => proxy.Heal());

    /// <summary>Waits until a replica may use its store.</summary>
    private static Task UpAsync(TestReplica replica) =>
        Eventually.Holds(() => replica.Locks.Health.IsUp, Bound, $"the store of {replica.Identity.Id} counts as up");

    /// <summary>Waits until the replica has nothing left that it must give back.</summary>
    private static Task AllDroppedAsync(TestReplica replica) =>
        Eventually.Holds(() => replica.Locks.Runtime.Dropper.Count == 0, Bound, $"{replica.Identity.Id} has given everything back");
}
