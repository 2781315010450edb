using Npgsql;
using Scheduler.Hosting;
using Scheduler.Locking;
using Scheduler.Postgres.SessionLeases;
using Scheduler.Testing.Servers;
using Scheduler.Time;

namespace Scheduler.Tests.Postgres;

/// <summary>Servers and ways to them that cannot keep session locks: the endpoint, the reason, the remedy, no secret.</summary>
public sealed class PostgresSessionRefusalTests : IAsyncLifetime
{
    private PostgresDatabase _database = null!;

    private static CancellationToken Stop => TestContext.Current.CancellationToken;

    public async ValueTask InitializeAsync() => _database = await PostgresDatabase.CreateAsync();

    public ValueTask DisposeAsync() => new(_database.Server.ForgetDatabaseAsync(_database.ConnectionString));

    [Fact]
    public async Task A_proxy_that_pools_transactions_is_refused()
    {
        await using var proxy = await PgBouncerServer.StartAsync(_database.ConnectionString);

        var refused = await RefusedAsync(proxy.Through(_database.ConnectionString), isPermanent: true, "a proxy", "'postgres'");

        Assert.Contains($"127.0.0.1:{proxy.Port}", refused.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_proxy_that_drops_the_start_up_options_is_refused()
    {
        await using var proxy = await PgBouncerServer.StartAsync(_database.ConnectionString, "ignore_startup_parameters = options");

        await RefusedAsync(proxy.Through(_database.ConnectionString), isPermanent: true, "a proxy", "'postgres'");
    }

    [Fact]
    public async Task A_wrong_password_is_refused() =>
        await RefusedAsync(_database.With(b => b.Password = "other-secret-1"), isPermanent: true, "user and password");

    [Fact]
    public async Task A_server_that_only_reads_is_refused()
    {
        await _database.ExecuteAsync($"ALTER DATABASE {_database.Name} SET default_transaction_read_only = on");

        await RefusedAsync(_database.ConnectionString, isPermanent: true, "read-only", "Scheduler:Locks");
    }

    [Fact]
    public async Task A_server_without_a_free_connection_is_asked_again()
    {
        await _database.ExecuteAsync($"ALTER DATABASE {_database.Name} CONNECTION LIMIT 0");
        // Limits do not hold for superusers.
        await _database.ExecuteAsync("CREATE ROLE limited LOGIN PASSWORD 'limited-secret-2'");

        try
        {
            await RefusedAsync(
                _database.With(b => (b.Username, b.Password) = ("limited", "limited-secret-2")),
                isPermanent: false,
                "max_connections"
            );
        }
        finally
        {
            await _database.ExecuteAsync("DROP ROLE limited");
        }
    }

    [Fact]
    public async Task A_schema_of_the_rows_is_not_touched()
    {
        await _database.ExecuteAsync(
            "CREATE SCHEMA scheduler_locks; CREATE TABLE scheduler_locks.scheduler_schema (product text, version int, min_reader int); "
                + "INSERT INTO scheduler_locks.scheduler_schema VALUES ('scheduler-locks', 1, 1)"
        );

        await RefusedAsync(_database.ConnectionString, isPermanent: true, "belongs to something else", "Scheduler:Locks:Schema");
    }

    private async Task<StoreUnavailableException> RefusedAsync(string connectionString, bool isPermanent, params string[] told)
    {
        var context = new BackendContext(
            "test",
            ReplicaIdentity.Create("replica"),
            new LeaseOptions(),
            BootTimeProvider.Instance,
            _database.Log
        );
        await using var store = new PostgresSessionLeaseStore(context, connectionString);

        var refused = await Assert.ThrowsAsync<StoreUnavailableException>(async () => await store.CheckAsync(LockStoreUse.Unused, Stop));

        Assert.Equal(isPermanent, refused.IsPermanent);
        Assert.All(told, text => Assert.Contains(text, refused.Message, StringComparison.Ordinal));
        Assert.DoesNotContain(new NpgsqlConnectionStringBuilder(connectionString).Password!, refused.Message, StringComparison.Ordinal);
        Assert.IsType<AcquireResult.Unavailable>(
            await store.AcquireAsync(
                new AcquireRequest(LockKey.From("job:settle"), new LeaseOwner("replica", 1), "test", TimeSpan.FromSeconds(10)),
                Stop
            )
        );
        return refused;
    }
}
