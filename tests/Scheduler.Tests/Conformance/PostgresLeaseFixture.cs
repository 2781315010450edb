using System.Net;
using Microsoft.Extensions.Logging.Abstractions;
using Npgsql;
using Scheduler.Hosting;
using Scheduler.Locking;
using Scheduler.Postgres.Leases;
using Scheduler.Testing.Servers;

namespace Scheduler.Tests.Conformance;

[LeaseStoreFixture(typeof(PostgresLeaseStore))]
public sealed class PostgresLeaseFixture : INetworkedFixture
{
    private PostgresServer? _server;
    private string _database = "";

    public SteppedClock? OwnClock { get; set; }

    public bool CanRestartServer => true;

    public IReadOnlyList<DnsEndPoint> Servers => [new(Server.Host, Server.Port)];

    private PostgresServer Server => _server ?? throw new InvalidOperationException("The fixture is not initialized.");

    public ILeaseStore CreateStore(string group, ReplicaIdentity replica, TimeProvider clientTime) =>
        CreateStore(new BackendContext(group, replica, new LeaseOptions(), clientTime, NullLoggerFactory.Instance), Servers);

    public ILeaseStore CreateStore(BackendContext context, IReadOnlyList<DnsEndPoint> servers)
    {
        var place = new NpgsqlConnectionStringBuilder(_database) { Host = servers[0].Host, Port = servers[0].Port }.ConnectionString;
        return new PostgresLeaseStore(context, place, listenConnectionString: place);
    }

    public Task StopServerAsync() => Server.StopAsync();

    public Task StartServerAsync() => Server.RestartAsync();

    public async ValueTask InitializeAsync()
    {
        _server = await PostgresServer.StartAsync(OwnClock?.Environment, "max_connections=300");
        _database = await _server.CreateDatabaseAsync();
    }

    public ValueTask DisposeAsync() => Server.DisposeAsync();
}

/// <summary>The same behind a proxy that pools transactions; only what listens goes past it.</summary>
[LeaseStoreFixture(typeof(PostgresLeaseStore))]
public sealed class PooledPostgresLeaseFixture : ILeaseStoreFixture
{
    private PgBouncerServer? _proxy;
    private string _direct = "";

    public ILeaseStore CreateStore(string group, ReplicaIdentity replica, TimeProvider clientTime) =>
        new PostgresLeaseStore(
            new BackendContext(group, replica, new LeaseOptions(), clientTime, NullLoggerFactory.Instance),
            _proxy!.Through(_direct),
            listenConnectionString: _direct
        );

    public async ValueTask InitializeAsync()
    {
        var server = await PostgresServer.SharedAsync();
        _direct = await server.CreateDatabaseAsync();
        _proxy = await PgBouncerServer.StartAsync(_direct);
    }

    public async ValueTask DisposeAsync()
    {
        await _proxy!.DisposeAsync();
        await (await PostgresServer.SharedAsync()).ForgetDatabaseAsync(_direct);
    }
}

public sealed class PooledPostgresLeaseConformance(PooledPostgresLeaseFixture fixture)
    : LeaseStoreConformance<PooledPostgresLeaseFixture>(fixture);

public sealed class PostgresLeaseConformance(PostgresLeaseFixture fixture) : LeaseStoreConformance<PostgresLeaseFixture>(fixture);

public sealed class PostgresLeaseFaultConformance(ProxiedFixture<PostgresLeaseFixture> fixture)
    : FaultConformance<PostgresLeaseFixture>(fixture);
