using Dapper;
using Npgsql;
using Scheduler.Locking;
using Scheduler.Postgres.Fencing;
using Scheduler.Testing.Servers;

namespace Scheduler.Tests.Postgres;

/// <summary>Statements are prepared where the session is the connection's own.</summary>
public sealed class OwnSessionsTests : IAsyncLifetime
{
    private const string Prepared = "SELECT count(*) FROM pg_prepared_statements WHERE statement LIKE '%.fences%'";

    private PostgresServer _server = null!;
    private string _connectionString = "";

    public async ValueTask InitializeAsync()
    {
        _server = await PostgresServer.SharedAsync();
        _connectionString = await _server.CreateDatabaseAsync();
    }

    public async ValueTask DisposeAsync() => await _server.ForgetDatabaseAsync(_connectionString);

    [Fact]
    public async Task A_fence_is_prepared_from_its_second_use_on_a_connection()
    {
        var one = new NpgsqlConnectionStringBuilder(_connectionString) { MaxPoolSize = 1 };
        await using var database = NpgsqlDataSource.Create(one.ConnectionString);

        Assert.Equal([0, 2, 2], await RaiseAsync(database, times: 3));
    }

    [Fact]
    public async Task Behind_a_proxy_that_pools_transactions_it_never_is()
    {
        await using var proxy = await PgBouncerServer.StartAsync(_server.ConnectionString("postgres"));
        await using var database = NpgsqlDataSource.Create(proxy.Through(_connectionString));

        Assert.Equal([0, 0, 0], await RaiseAsync(database, times: 3));
    }

    private static async Task<List<long>> RaiseAsync(NpgsqlDataSource database, int times)
    {
        var prepared = new List<long>();
        for (var i = 1; i <= times; i++)
        {
            prepared.Add(
                await PostgresFence.RunAsync(
                    database,
                    "payouts",
                    LockKey.From("job:pay"),
                    new FencingToken(i),
                    async (connection, transaction, _) => await connection.ExecuteScalarAsync<long>(Prepared, transaction: transaction),
                    TestContext.Current.CancellationToken
                )
            );
        }
        return prepared;
    }
}
