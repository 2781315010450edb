using Microsoft.Extensions.Logging.Abstractions;
using Scheduler.Hosting;
using Scheduler.Locking;
using Scheduler.Postgres.SessionLeases;
using Scheduler.Testing.Servers;

namespace Scheduler.Tests.Conformance;

[LeaseStoreFixture(typeof(PostgresSessionLeaseStore))]
public sealed class PostgresSessionFixture : ILeaseStoreFixture
{
    private PostgresServer? _server;
    private string _database = "";

    public bool CanRestartServer => true;

    public bool KeepsGrantsOverRestart => false;

    private PostgresServer Server => _server ?? throw new InvalidOperationException("The fixture is not initialized.");

    public ILeaseStore CreateStore(string group, ReplicaIdentity replica, TimeProvider clientTime) =>
        new PostgresSessionLeaseStore(
            new BackendContext(group, replica, new LeaseOptions(), clientTime, NullLoggerFactory.Instance),
            _database
        );

    public Task StopServerAsync() => Server.StopAsync();

    public Task StartServerAsync() => Server.RestartAsync();

    public async ValueTask InitializeAsync()
    {
        // A session stays as long as a test's grants last, whatever the test has disposed of.
        _server = await PostgresServer.StartAsync("fsync=off", "max_connections=600");
        _database = await Server.CreateDatabaseAsync();
    }

    public ValueTask DisposeAsync() => Server.DisposeAsync();
}

public sealed class PostgresSessionConformance(PostgresSessionFixture fixture) : LeaseStoreConformance<PostgresSessionFixture>(fixture);
