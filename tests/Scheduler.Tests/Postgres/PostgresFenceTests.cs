using System.Data;
using System.Data.Common;
using Dapper;
using Npgsql;
using Scheduler.Locking;
using Scheduler.Postgres.Fencing;
using Scheduler.Testing.Servers;

namespace Scheduler.Tests.Postgres;

/// <summary>Fenced work on an application's PostgreSQL database.</summary>
public sealed class PostgresFenceTests : IAsyncLifetime
{
    private const long Older = 5;
    private const long Newer = 6;
    private static readonly TimeSpan Bound = TimeSpan.FromSeconds(20);
    private static readonly LockKey Key = LockKey.From("job:pay");
    private PostgresServer _server = null!;
    private string _connectionString = null!;
    private NpgsqlDataSource _database = null!;

    private static CancellationToken Stop => TestContext.Current.CancellationToken;

    private string Name => new NpgsqlConnectionStringBuilder(_database.ConnectionString).Database!;

    public async ValueTask InitializeAsync()
    {
        _server = await PostgresServer.SharedAsync();
        _connectionString = await _server.CreateDatabaseAsync();
        _database = NpgsqlDataSource.Create(_connectionString);
        await ExecuteAsync("CREATE TABLE payouts (token bigint)");
    }

    public async ValueTask DisposeAsync()
    {
        await _database.DisposeAsync();
        await _server.ForgetDatabaseAsync(_database.ConnectionString);
    }

    [Fact]
    public async Task Many_that_find_no_table_at_the_same_time_all_have_their_turn()
    {
        for (var round = 0; round < 3; round++)
        {
            await ExecuteAsync("DROP TABLE IF EXISTS fences");
            var resource = $"r{round}";
            var paid = await Task.WhenAll(Enumerable.Range(1, 12).Select(_ => Task.Run(() => PayAsync(Older, resource: resource), Stop)));
            Assert.Equal(12, paid.Length);
        }
        Assert.Single(await PaidAsync());
    }

    [Fact]
    public async Task A_serialization_failure_is_tried_again_and_never_called_stale()
    {
        var options = new PostgresFenceOptions { Isolation = IsolationLevel.Serializable };
        await ExecuteAsync("INSERT INTO payouts VALUES (0)");
        var pause = new Pause();
        var tries = 0;
        var first = Task.Run(
            () =>
                RunAsync(
                    options,
                    "a",
                    async (connection, transaction) =>
                    {
                        var count = await connection.ExecuteScalarAsync<long>("SELECT count(*) FROM payouts", transaction: transaction);
                        if (++tries == 1)
                        {
                            await pause.WaitAsync();
                        }
                        await connection.ExecuteAsync("UPDATE payouts SET token = token + @count", new { count }, transaction);
                        return count;
                    }
                ),
            Stop
        );
        await pause.Reached;
        await ExecuteAsync("UPDATE payouts SET token = token + 10");
        pause.End();

        Assert.Equal(1, await first.WaitAsync(Bound, Stop));
        Assert.Equal(2, tries);
        Assert.Equal([11L], await PaidAsync());
    }

    [Fact]
    public async Task Of_two_in_a_deadlock_the_one_that_the_server_ends_is_tried_again()
    {
        await ExecuteAsync("INSERT INTO payouts VALUES (1), (2)");
        var both = new Barrier();
        var tries = 0;
        async Task<long> CrossAsync(string resource, int one, int other)
        {
            var isFirst = true;
            return await RunAsync(
                PostgresFenceOptions.Default,
                resource,
                async (connection, transaction) =>
                {
                    Interlocked.Increment(ref tries);
                    const string Lock = "SELECT token FROM payouts WHERE token = @token FOR UPDATE";
                    await connection.ExecuteAsync(Lock, new { token = one }, transaction);
                    if (isFirst)
                    {
                        isFirst = false;
                        await both.MeetAsync();
                    }
                    return await connection.ExecuteScalarAsync<long>(Lock, new { token = other }, transaction);
                }
            );
        }

        var crossed = await Task.WhenAll(Task.Run(() => CrossAsync("a", 1, 2), Stop), Task.Run(() => CrossAsync("b", 2, 1), Stop));
        Assert.Equal([2L, 1L], crossed);
        Assert.InRange(tries, 3, PostgresFence.Tries + 1);
    }

    [Fact]
    public async Task What_collides_every_time_is_given_up_after_five_tries()
    {
        var tries = 0;
        var problem = await Assert.ThrowsAsync<PostgresException>(() =>
            RunAsync(
                PostgresFenceOptions.Default,
                "a",
                async (connection, transaction) =>
                {
                    tries++;
                    return await connection.ExecuteAsync(
                        "DO $$ BEGIN RAISE EXCEPTION 'again' USING ERRCODE = '40001'; END $$",
                        transaction: transaction
                    );
                }
            )
        );
        Assert.Equal(("40001", PostgresFence.Tries), (problem.SqlState, tries));
    }

    [Fact]
    public async Task A_fence_that_stays_held_ends_the_call_at_its_limit_by_name()
    {
        var pause = new Pause();
        var older = Task.Run(() => PayAsync(Older, pause), Stop);
        await pause.Reached;
        var options = new PostgresFenceOptions { Limit = TimeSpan.FromMilliseconds(500) };

        var late = await Assert.ThrowsAsync<NpgsqlException>(() => PayAsync(Newer, options: options).WaitAsync(Bound, Stop));

        Assert.Contains($"'payouts' in the database '{Name}' was not done within 0.5 s", late.Message, StringComparison.Ordinal);
        Assert.Contains("rolled back", late.Message, StringComparison.Ordinal);
        pause.End();
        Assert.Equal(1, await older.WaitAsync(Bound, Stop));
        Assert.Equal(0, await PayAsync(Newer));
    }

    [Fact]
    public async Task Work_that_ends_by_no_limit_of_its_own_is_rolled_back_at_the_calls()
    {
        var options = new PostgresFenceOptions { Limit = TimeSpan.FromMilliseconds(300) };
        var leave = new TaskCompletionSource();
        var working = RunAsync(
            options,
            "payouts",
            async (connection, transaction) =>
            {
                await connection.ExecuteAsync("INSERT INTO payouts VALUES (1)", transaction: transaction);
                await leave.Task;
                return 1;
            }
        );
        await Assert.ThrowsAsync<NpgsqlException>(() => working.WaitAsync(Bound, Stop));
        leave.SetResult();
        // Waits until the session that still had the fence has rolled back.
        Assert.Equal(1, await PayAsync(Newer));
        Assert.Equal([Newer], await PaidAsync());
    }

    [Fact]
    public async Task A_holder_that_stands_still_in_its_transaction_is_ended_by_the_server()
    {
        await PayAsync(Older - 1, resource: "others");
        await ExecuteAsync("DELETE FROM payouts");
        // As a process that is stopped: it has raised the fence, and says nothing more.
        var options = new PostgresFenceOptions { Limit = TimeSpan.FromMilliseconds(300) };
        await using var standing = await _database.OpenConnectionAsync(Stop);
        await using var transaction = await standing.BeginTransactionAsync(Stop);
        await new GuardStatements(standing, transaction, options).RaiseAsync("payouts", Key, new FencingToken(Older), note: null, Stop);

        Assert.Equal(1, await PayAsync(Newer).WaitAsync(Bound, Stop));

        await Assert.ThrowsAnyAsync<DbException>(() => transaction.CommitAsync(Stop));
        await Assert.ThrowsAsync<StaleLeaseException>(() => PayAsync(Older));
    }

    [Fact]
    public async Task A_server_that_answers_nothing_ends_the_call_in_time()
    {
        await using var server = await PostgresServer.StartAsync();
        await using var database = NpgsqlDataSource.Create(server.ConnectionString("postgres"));
        var options = new PostgresFenceOptions { Limit = TimeSpan.FromSeconds(1) };
        ValueTask<int> WorkAsync() =>
            PostgresFence.RunAsync(database, options, "a", Key, new FencingToken(1), static (_, _, _) => new ValueTask<int>(1), Stop);
        Assert.Equal(1, await WorkAsync());
        server.Freeze();
        await Assert.ThrowsAnyAsync<DbException>(() => WorkAsync().AsTask().WaitAsync(Bound, Stop));
        server.Thaw();
        Assert.Equal(1, await WorkAsync());
    }

    [Fact]
    public async Task The_commit_waits_for_the_disk_although_the_database_says_otherwise()
    {
        await ExecuteAsync($"ALTER DATABASE {Name} SET synchronous_commit = off");
        await using var database = NpgsqlDataSource.Create(_connectionString);
        var shown = await PostgresFence.RunAsync(
            database,
            "a",
            Key,
            new FencingToken(1),
            static async (connection, transaction, _) =>
                (await connection.QuerySingleAsync<string>("SHOW synchronous_commit", transaction: transaction))
                + (await connection.QuerySingleAsync<string>("SHOW idle_in_transaction_session_timeout", transaction: transaction)),
            Stop
        );
        Assert.Equal("on10s", shown);
    }

    [Fact]
    public async Task The_tables_stand_in_the_schema_that_is_named_and_what_is_missing_for_that_is_said()
    {
        var options = new PostgresFenceOptions { Schema = "money" };
        var missing = await Assert.ThrowsAsync<NpgsqlException>(() => PayAsync(Older, options: options));
        Assert.Contains("cannot be made in schema 'money'", missing.Message, StringComparison.Ordinal);
        await ExecuteAsync("CREATE SCHEMA money");
        Assert.Equal(1, await PayAsync(Older, options: options));
        Assert.Equal(1L, await _server.AskAsync<long>("SELECT count(*) FROM money.fences", Name));
        await Assert.ThrowsAsync<ArgumentException>(() => PayAsync(Older, options: options with { Schema = "a\"b" }));
        await Assert.ThrowsAsync<ArgumentOutOfRangeException>(() => PayAsync(Older, options: options with { Limit = TimeSpan.Zero }));

        await ExecuteAsync("CREATE SCHEMA closed; DROP ROLE IF EXISTS fence_reader; CREATE ROLE fence_reader");
        await using var poor = await _database.OpenConnectionAsync(Stop);
        await poor.ExecuteAsync("SET ROLE fence_reader");
        var refused = await Assert.ThrowsAsync<NpgsqlException>(() =>
            GuardTables.MakeAsync(poor, options with { Schema = "closed" }, Stop)
        );
        Assert.Contains("grant USAGE and CREATE", refused.Message, StringComparison.Ordinal);
        await poor.ExecuteAsync("RESET ROLE; DROP ROLE fence_reader");
    }

    [Fact]
    public async Task It_works_behind_a_proxy_that_pools_transactions()
    {
        await using var proxy = await PgBouncerServer.StartAsync(_server.ConnectionString("postgres"));
        await using var database = NpgsqlDataSource.Create(proxy.Through(_connectionString));
        Assert.Equal(1, await PayAsync(Newer, database: database));
        await Assert.ThrowsAsync<StaleLeaseException>(() => PayAsync(Older, database: database));
        Assert.Equal([Newer], await PaidAsync());
    }

    private Task<long> RunAsync(
        PostgresFenceOptions options,
        string resource,
        Func<DbConnection, DbTransaction, Task<long>> work,
        NpgsqlDataSource? database = null,
        LockKey? key = null,
        long token = 1
    ) =>
        PostgresFence
            .RunAsync(
                database ?? _database,
                options,
                resource,
                key ?? Key,
                new FencingToken(token),
                async (connection, transaction, _) => await work(connection, transaction),
                Stop
            )
            .AsTask();

    private async Task<int> PayAsync(
        long token,
        Pause? pause = null,
        LockKey? key = null,
        string resource = "payouts",
        PostgresFenceOptions? options = null,
        NpgsqlDataSource? database = null
    ) =>
        (int)
            await RunAsync(
                options ?? PostgresFenceOptions.Default,
                resource,
                async (connection, transaction) =>
                {
                    var paid = await connection.ExecuteScalarAsync<long>("SELECT count(*) FROM payouts", transaction: transaction) > 0;
                    if (pause is not null)
                    {
                        await pause.WaitAsync();
                    }
                    return paid ? 0 : await connection.ExecuteAsync("INSERT INTO payouts VALUES (@token)", new { token }, transaction);
                },
                database,
                key,
                token
            );

    private async Task ExecuteAsync(string sql)
    {
        await using var command = _database.CreateCommand(sql);
        await command.ExecuteNonQueryAsync(Stop);
    }

    private async Task<List<long>> PaidAsync()
    {
        await using var connection = await _database.OpenConnectionAsync(Stop);
        return (await connection.QueryAsync<long>("SELECT token FROM payouts ORDER BY token")).AsList();
    }

    /// <summary>A point at which work stands until the test lets it go on.</summary>
    private sealed class Pause
    {
        private readonly TaskCompletionSource _reached = new(TaskCreationOptions.RunContinuationsAsynchronously);
        private readonly TaskCompletionSource _end = new(TaskCreationOptions.RunContinuationsAsynchronously);

        public Task Reached => _reached.Task.WaitAsync(Bound, Stop);

        public Task WaitAsync()
        {
            _reached.SetResult();
            return _end.Task.WaitAsync(Bound, Stop);
        }

        public void End() => _end.SetResult();
    }

    /// <summary>Two that go on when both have come.</summary>
    private sealed class Barrier
    {
        private readonly TaskCompletionSource _both = new(TaskCreationOptions.RunContinuationsAsynchronously);
        private int _met;

        public Task MeetAsync()
        {
            if (Interlocked.Increment(ref _met) == 2)
            {
                _both.SetResult();
            }
            return _both.Task.WaitAsync(Bound, Stop);
        }
    }
}
