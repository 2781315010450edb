using System.Net;
using Microsoft.Extensions.Logging.Abstractions;
using Scheduler.Hosting;
using Scheduler.Locking;
using Scheduler.Redis.Redlock;
using Scheduler.Testing.Servers;

namespace Scheduler.Tests.Conformance;

[LeaseStoreFixture(typeof(RedlockLeaseStore))]
public sealed class RedlockFixture : INetworkedFixture
{
    private static readonly RedisServerOptions Options = new() { Persistence = RedisPersistence.AppendAlways };
    private RedisServer[] _servers = [];

    public SteppedClock? OwnClock { get; set; }

    public bool CanRestartServer => true;

    public bool NamesTheWinner => false;

    /// <summary>A step back makes no majority forget, and no time of several servers reaches Core.</summary>
    public bool StepEndsLeases(TimeSpan step) => step > TimeSpan.Zero;

    public IReadOnlyList<DnsEndPoint> Servers => [.. _servers.Select(s => new DnsEndPoint(s.Host, s.Port))];

    public ILeaseStore CreateStore(string group, ReplicaIdentity replica, TimeProvider clientTime) =>
        CreateStore(new BackendContext(group, replica, new LeaseOptions(), clientTime, NullLoggerFactory.Instance), Servers);

    public ILeaseStore CreateStore(BackendContext context, IReadOnlyList<DnsEndPoint> servers) =>
        new RedlockLeaseStore([.. servers.Select(s => $"{s.Host}:{s.Port}")], context);

    public Task StopServerAsync() => Task.WhenAll(_servers.Select(s => s.StopAsync()));

    public Task StartServerAsync() => Task.WhenAll(_servers.Select(s => s.RestartAsync(keepData: true)));

    public async ValueTask InitializeAsync()
    {
        var options = OwnClock is { } clock ? Options with { Environment = clock.Environment } : Options;
        _servers = await Task.WhenAll(Enumerable.Range(0, 3).Select(_ => RedisServer.StartAsync(options)));
    }

    public async ValueTask DisposeAsync() => await Task.WhenAll(_servers.Select(s => s.DisposeAsync().AsTask()));
}

public sealed class RedlockConformance(RedlockFixture fixture) : LeaseStoreConformance<RedlockFixture>(fixture);

public sealed class RedlockThroughProxyConformance(ProxiedFixture<RedlockFixture> fixture)
    : LeaseStoreConformance<ProxiedFixture<RedlockFixture>>(fixture);

public sealed class RedlockFaultConformance(ProxiedFixture<RedlockFixture> fixture) : FaultConformance<RedlockFixture>(fixture);
