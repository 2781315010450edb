using System.Net;
using Microsoft.Extensions.Logging.Abstractions;
using Scheduler.Hosting;
using Scheduler.Locking;
using Scheduler.Redis;
using Scheduler.Testing.Servers;

namespace Scheduler.Tests.Conformance;

[LeaseStoreFixture(typeof(RedisLeaseStore))]
public sealed class RedisFixture : INetworkedFixture
{
    private static readonly RedisServerOptions Options = new() { Persistence = RedisPersistence.AppendAlways };
    private RedisServer? _server;

    public SteppedClock? OwnClock { get; set; }

    public bool CanRestartServer => !Server.IsExternal;

    public IReadOnlyList<DnsEndPoint> Servers => [new(Server.Host, Server.Port)];

    private RedisServer Server => _server ?? throw new InvalidOperationException("The fixture is not initialized.");

    public ILeaseStore CreateStore(string group, ReplicaIdentity replica, TimeProvider clientTime) =>
        CreateStore(new BackendContext(group, replica, new LeaseOptions(), clientTime, NullLoggerFactory.Instance), Servers);

    public ILeaseStore CreateStore(BackendContext context, IReadOnlyList<DnsEndPoint> servers) =>
        new RedisLeaseStore($"{servers[0].Host}:{servers[0].Port}", context);

    public Task StopServerAsync() => Server.StopAsync();

    public Task StartServerAsync() => Server.RestartAsync(keepData: true);

    public async ValueTask InitializeAsync() =>
        _server = OwnClock is { } clock
            ? await RedisServer.StartAsync(Options with { Environment = clock.Environment })
            : await RedisServer.StartOrUseRunningAsync(Options);

    public ValueTask DisposeAsync() => Server.DisposeAsync();
}

public sealed class RedisConformance(RedisFixture fixture) : LeaseStoreConformance<RedisFixture>(fixture);

public sealed class RedisThroughProxyConformance(ProxiedFixture<RedisFixture> fixture)
    : LeaseStoreConformance<ProxiedFixture<RedisFixture>>(fixture);

public sealed class RedisFaultConformance(ProxiedFixture<RedisFixture> fixture) : FaultConformance<RedisFixture>(fixture);
