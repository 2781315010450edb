using Microsoft.Extensions.Logging.Abstractions;
using Scheduler.Hosting;
using Scheduler.Locking;
using Scheduler.Redis;
using Scheduler.Testing.Servers;

namespace Scheduler.Tests.Conformance;

[LeaseStoreFixture(typeof(RedisLeaseStore))]
public sealed class RedisFixture : ILeaseStoreFixture
{
    private RedisServer? _server;

    public bool CanRestartServer => !Server.IsExternal;

    private RedisServer Server => _server ?? throw new InvalidOperationException("The fixture is not initialized.");

    public ILeaseStore CreateStore(string group, ReplicaIdentity replica, TimeProvider clientTime) =>
        new RedisLeaseStore(
            Server.ConnectionString,
            new BackendContext(group, replica, new LeaseOptions(), clientTime, NullLoggerFactory.Instance)
        );

    public Task StopServerAsync() => Server.StopAsync();

    public Task StartServerAsync() => Server.RestartAsync(keepData: true);

    public async ValueTask InitializeAsync() =>
        _server = await RedisServer.StartOrUseRunningAsync(new RedisServerOptions { Persistence = RedisPersistence.AppendAlways });

    public ValueTask DisposeAsync() => Server.DisposeAsync();
}

public sealed class RedisConformance(RedisFixture fixture) : LeaseStoreConformance<RedisFixture>(fixture);
