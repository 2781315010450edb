using System.Net;
using Microsoft.Extensions.Logging.Abstractions;
using Npgsql;
using Scheduler.Hosting;
using Scheduler.Locking;
using Scheduler.Postgres.SessionLeases;
using Scheduler.Testing.Servers;

namespace Scheduler.Tests.Conformance;

[LeaseStoreFixture(typeof(PostgresSessionLeaseStore))]
public sealed class PostgresSessionFixture : INetworkedFixture
{
    private PostgresServer? _server;
    private string _database = "";

    public SteppedClock? OwnClock { get; set; }

    public bool CanRestartServer => true;

    public bool KeepsGrantsOverRestart => false;

    public bool LeasesOutliveConnections => false;

    public IReadOnlyList<DnsEndPoint> Servers => [new(Server.Host, Server.Port)];

    private PostgresServer Server => _server ?? throw new InvalidOperationException("The fixture is not initialized.");

    /// <summary>Its leases end with their session, whatever the time.</summary>
    public bool StepEndsLeases(TimeSpan step) => false;

    public TimeSpan FreeAfter(TimeSpan duration) => 2 * duration;

    public ILeaseStore CreateStore(string group, ReplicaIdentity replica, TimeProvider clientTime) =>
        CreateStore(new BackendContext(group, replica, new LeaseOptions(), clientTime, NullLoggerFactory.Instance), Servers);

    public ILeaseStore CreateStore(BackendContext context, IReadOnlyList<DnsEndPoint> servers) =>
        new PostgresSessionLeaseStore(
            context,
            new NpgsqlConnectionStringBuilder(_database) { Host = servers[0].Host, Port = servers[0].Port }.ConnectionString
        );

    public Task StopServerAsync() => Server.StopAsync();

    public Task StartServerAsync() => Server.RestartAsync();

    public async ValueTask InitializeAsync()
    {
        // A session stays as long as a test's grants last, whatever the test has disposed of.
        _server = await PostgresServer.StartAsync(OwnClock?.Environment, "fsync=off", "max_connections=600");
        _database = await Server.CreateDatabaseAsync();
    }

    public ValueTask DisposeAsync() => Server.DisposeAsync();
}

public sealed class PostgresSessionConformance(PostgresSessionFixture fixture) : LeaseStoreConformance<PostgresSessionFixture>(fixture);

public sealed class PostgresSessionFaultConformance(ProxiedFixture<PostgresSessionFixture> fixture)
    : FaultConformance<PostgresSessionFixture>(fixture);
