using Microsoft.Extensions.Logging.Abstractions;
using Scheduler.Hosting;
using Scheduler.Locking;
using Scheduler.Postgres.Leases;
using Scheduler.Testing.Servers;

namespace Scheduler.Tests.Conformance;

[LeaseStoreFixture(typeof(PostgresLeaseStore))]
public sealed class PostgresLeaseFixture : ILeaseStoreFixture
{
    private PostgresServer? _server;
    private string _database = "";

    public bool CanRestartServer => true;

    private PostgresServer Server => _server ?? throw new InvalidOperationException("The fixture is not initialized.");

    public ILeaseStore CreateStore(string group, ReplicaIdentity replica, TimeProvider clientTime) =>
        new PostgresLeaseStore(
            new BackendContext(group, replica, new LeaseOptions(), clientTime, NullLoggerFactory.Instance),
            _database,
            listenConnectionString: _database
        );

    public Task StopServerAsync() => Server.StopAsync();

    public Task StartServerAsync() => Server.RestartAsync();

    public async ValueTask InitializeAsync()
    {
        _server = await PostgresServer.StartAsync("max_connections=300");
        _database = await _server.CreateDatabaseAsync();
    }

    public ValueTask DisposeAsync() => Server.DisposeAsync();
}

public sealed class PostgresLeaseConformance(PostgresLeaseFixture fixture) : LeaseStoreConformance<PostgresLeaseFixture>(fixture);
