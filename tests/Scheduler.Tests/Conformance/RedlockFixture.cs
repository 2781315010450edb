using Microsoft.Extensions.Logging.Abstractions;
using Scheduler.Hosting;
using Scheduler.Locking;
using Scheduler.Redis.Redlock;
using Scheduler.Testing.Servers;

namespace Scheduler.Tests.Conformance;

[LeaseStoreFixture(typeof(RedlockLeaseStore))]
public sealed class RedlockFixture : ILeaseStoreFixture
{
    private RedisServer[] _servers = [];

    public bool CanRestartServer => true;

    public bool NamesTheWinner => false;

    public ILeaseStore CreateStore(string group, ReplicaIdentity replica, TimeProvider clientTime) =>
        new RedlockLeaseStore(
            [.. _servers.Select(s => s.ConnectionString)],
            new BackendContext(group, replica, new LeaseOptions(), clientTime, NullLoggerFactory.Instance)
        );

    public Task StopServerAsync() => Task.WhenAll(_servers.Select(s => s.StopAsync()));

    public Task StartServerAsync() => Task.WhenAll(_servers.Select(s => s.RestartAsync(keepData: true)));

    public async ValueTask InitializeAsync() =>
        _servers = await Task.WhenAll(
            Enumerable
                .Range(0, 3)
                .Select(_ => RedisServer.StartAsync(new RedisServerOptions { Persistence = RedisPersistence.AppendAlways }))
        );

    public async ValueTask DisposeAsync() => await Task.WhenAll(_servers.Select(s => s.DisposeAsync().AsTask()));
}

public sealed class RedlockConformance(RedlockFixture fixture) : LeaseStoreConformance<RedlockFixture>(fixture);
