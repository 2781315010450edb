using System.Net;
using Microsoft.Extensions.Logging.Abstractions;
using Scheduler.Hosting;
using Scheduler.Locking;
using Scheduler.Testing.Servers;
using Scheduler.Testing.Servers.Faults;

namespace Scheduler.Tests.Conformance;

/// <summary>
/// What the fixture of a store with servers adds, so that the suites also run with a <see cref="FaultProxy"/> in front of each server:
/// derive one sealed class from <see cref="LeaseStoreConformance{TFixture}"/> and one from <see cref="FaultConformance{TFixture}"/>, both
/// over <see cref="ProxiedFixture{TFixture}"/>.
/// </summary>
public interface INetworkedFixture : ILeaseStoreFixture
{
    /// <summary>Set before the fixture is initialized: its servers are processes of its own with this clock.</summary>
    SteppedClock? OwnClock { get; set; }

    /// <summary>Where the servers listen.</summary>
    IReadOnlyList<DnsEndPoint> Servers { get; }

    /// <summary>Whether a lease goes on when the connection that took it was cut; else it is lost, and that is said in time.</summary>
    bool LeasesOutliveConnections => true;

    /// <summary>Whether a step of the servers' clocks, forward or back, ends the leases.</summary>
    bool StepEndsLeases(TimeSpan step) => true;

    /// <summary>When the key of a holder that is cut off is free at the latest, after it was told that its lease is lost.</summary>
    TimeSpan FreeAfter(TimeSpan duration) => duration;

    /// <summary>A fresh client that reaches the servers, in their order, at other places.</summary>
    ILeaseStore CreateStore(BackendContext context, IReadOnlyList<DnsEndPoint> servers);
}

/// <summary>The servers of a fixture with a proxy in front of each, which does nothing until a test sets a fault.</summary>
public sealed class ProxiedFixture<TFixture> : ILeaseStoreFixture
    where TFixture : class, INetworkedFixture, new()
{
    private IReadOnlyList<FaultProxy> _proxies = [];

    public ProxiedFixture() => Inner.OwnClock = Clock;

    /// <summary>The servers as they are.</summary>
    public TFixture Inner { get; } = new();

    /// <summary>What the servers take for the time.</summary>
    public SteppedClock Clock { get; } = new();

    /// <summary>Where all draws come from.</summary>
    public FaultSeed Seed { get; } = FaultSeed.Take();

    /// <summary>One in front of each server.</summary>
    public IReadOnlyList<FaultProxy> Proxies => _proxies;

    public LockStoreUse Use => Inner.Use;

    public bool CanRestartServer => Inner.CanRestartServer;

    public bool CanForget => Inner.CanForget;

    public bool NamesTheWinner => Inner.NamesTheWinner;

    public TimeSpan Slack => Inner.Slack;

    public ILeaseStore CreateStore(string group, ReplicaIdentity replica, TimeProvider clientTime) =>
        CreateStore(new BackendContext(group, replica, new LeaseOptions(), clientTime, NullLoggerFactory.Instance), throughProxy: true);

    /// <summary>A fresh client whose way leads through the proxies, or beside them.</summary>
    public ILeaseStore CreateStore(BackendContext context, bool throughProxy) =>
        Inner.CreateStore(context, throughProxy ? [.. _proxies.Select(p => p.EndPoint)] : Inner.Servers);

    public Task StopServerAsync() => Inner.StopServerAsync();

    public Task StartServerAsync() => Inner.StartServerAsync();

    public Task ForgetAsync() => Inner.ForgetAsync();

    public async ValueTask InitializeAsync()
    {
        await Inner.InitializeAsync();
        _proxies = [.. Inner.Servers.Select(server => FaultProxy.Start(server, Seed))];
    }

    public async ValueTask DisposeAsync()
    {
        foreach (var proxy in _proxies)
        {
            await proxy.DisposeAsync();
        }
        await Inner.DisposeAsync();
        Clock.Dispose();
    }
}
