using System.Globalization;
using System.Text.RegularExpressions;
using Npgsql;
using Scheduler.Locking;
using Scheduler.Postgres.State;
using Scheduler.Runs;
using Scheduler.Testing.Servers;
using Scheduler.Tests.Sqlite;

namespace Scheduler.Tests.Postgres;

/// <summary>The PostgreSQL State beside others: processes, an application's own tables, proxies, a server's settings.</summary>
public sealed partial class PostgresSharingTests : IAsyncLifetime
{
    private PostgresDatabase _database = null!;

    private static CancellationToken Stop => TestContext.Current.CancellationToken;

    public async ValueTask InitializeAsync() => _database = await PostgresDatabase.CreateAsync();

    public ValueTask DisposeAsync() => _database.DisposeAsync();

    [Fact]
    public async Task An_events_end_is_written_in_transactions_of_the_States_own_database_and_user_alone()
    {
        var state = await _database.OpenAsync();
        var other = await _database.Server.CreateDatabaseAsync();
        await _database.ExecuteAsync("DROP ROLE IF EXISTS shop; CREATE ROLE shop LOGIN SUPERUSER PASSWORD 'shop'");
        // Of an end that nobody has: where it is not written, it is not missed either.
        var end = new Inbox.InboxEnd(Guid.CreateVersion7().ToString(), 1, Inbox.InboxState.Done);
        async Task<bool> WriteAsync(string connectionString)
        {
            await using var source = NpgsqlDataSource.Create(connectionString);
            await using var connection = await source.OpenConnectionAsync(Stop);
            await using var transaction = await connection.BeginTransactionAsync(Stop);
            return await state.Inbox.FinishWithinAsync(transaction, end, Stop);
        }

        Assert.False(await WriteAsync(other));
        Assert.False(await WriteAsync(_database.With(b => (b.Username, b.Password) = ("shop", "shop"))));
        await Assert.ThrowsAsync<Inbox.EventTakenUpException>(() => WriteAsync(_database.ConnectionString));
        await _database.ExecuteAsync("DROP ROLE shop");
        await _database.Server.ForgetDatabaseAsync(other);
    }

    [Fact]
    public async Task Three_processes_write_at_once_without_an_error_and_every_row_is_right()
    {
        const int Callers = 8;
        const int Cycles = 160;
        string[] names = ["one", "two", "three"];
        var peers = names
            .Select(n => Peer.Start("state-stress", _database.ConnectionString, "test", n, $"{Callers}", $"{Cycles}"))
            .ToList();
        try
        {
            foreach (var peer in peers)
            {
                Assert.Equal("ready", await peer.LineAsync());
            }
            await Task.WhenAll(peers.Select(p => p.GoAsync()));
            var lines = await Task.WhenAll(peers.Select(p => p.LineAsync(TimeSpan.FromMinutes(2))));
            var (claimed, recorded) = (0, 0);
            foreach (var line in lines)
            {
                TestContext.Current.TestOutputHelper!.WriteLine(line);
                var result = FinishedLine().Match(line);
                Assert.True(result.Success, line);
                Assert.Equal("0", result.Groups["errors"].Value);
                claimed += int.Parse(result.Groups["claimed"].Value, CultureInfo.InvariantCulture);
                recorded += int.Parse(result.Groups["recorded"].Value, CultureInfo.InvariantCulture);
            }
            const int Shared = Callers * Cycles / 8;
            const int Own = (Callers * Cycles) - Shared;
            Assert.Equal(((3 * Own) + Shared, 2 * Shared), (claimed, recorded));
            Assert.Equal(claimed, await _database.AskAsync<long>("SELECT count(*) FROM scheduler.runs WHERE state = 'succeeded'"));
        }
        finally
        {
            foreach (var peer in peers)
            {
                await peer.DisposeAsync();
            }
        }
    }

    [Fact]
    public async Task Replicas_that_start_together_make_the_schema_once()
    {
        await Task.WhenAll(Enumerable.Range(0, 8).Select(_ => _database.OpenAsync()));

        Assert.Equal(1, _database.Log.Count(2200));
    }

    [Fact]
    public async Task An_applications_own_tables_are_left_alone()
    {
        const string Theirs =
            "SELECT string_agg(nspname || '.' || relname, ',' ORDER BY c.oid) FROM pg_class c JOIN pg_namespace n "
            + "ON n.oid = c.relnamespace WHERE nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast', 'scheduler')";
        await _database.ExecuteAsync(
            "CREATE TABLE runs (id int PRIMARY KEY); INSERT INTO runs VALUES (1); CREATE TABLE fences (id int); CREATE SCHEMA shop; "
                + "CREATE TABLE shop.members (id int)"
        );
        var before = await _database.AskAsync<string>(Theirs);
        // A search path must decide nothing.
        var state = await _database.OpenAsync(_database.With(b => b.SearchPath = "public, shop"));
        var run = Assert.IsType<ClaimResult.Claimed>(await state.Runs.ClaimAsync(PostgresDatabase.Claim(0), Stop)).Run;
        await state.Runs.CompleteAsync(PostgresDatabase.Succeeded(run), Stop);
        await state.Runs.PruneAsync(PostgresDatabase.Noon.AddDays(1), 100, Stop);

        Assert.Equal(before, await _database.AskAsync<string>(Theirs));
        Assert.Equal(1, await _database.AskAsync<long>("SELECT count(*) FROM public.runs"));
        await _database.ExecuteAsync("DROP SCHEMA scheduler CASCADE");
        Assert.Equal(before, await _database.AskAsync<string>(Theirs));
    }

    [Fact]
    public async Task Two_schemas_of_one_database_never_meet()
    {
        var one = await _database.OpenAsync();
        var two = _database.State(schema: "scheduler_2");
        await two.OpenAsync(Stop);

        Assert.IsType<ClaimResult.Claimed>(await one.Runs.ClaimAsync(PostgresDatabase.Claim(0, token: 9), Stop));
        Assert.IsType<ClaimResult.Claimed>(await two.Runs.ClaimAsync(PostgresDatabase.Claim(0, token: 1), Stop));
    }

    [Fact]
    public async Task A_session_has_its_limits_from_the_start_and_behind_a_proxy_in_each_transaction()
    {
        const string Settings =
            "SELECT concat_ws(' ', current_setting('statement_timeout'), current_setting('lock_timeout'), "
            + "current_setting('idle_in_transaction_session_timeout'), current_setting('enable_seqscan'), "
            + "current_setting('jit'))";
        var direct = await _database.OpenAsync();
        await using var proxy = await PgBouncerServer.StartAsync(_database.ConnectionString);
        await using var silent = await PgBouncerServer.StartAsync(_database.ConnectionString, "ignore_startup_parameters = options");

        Assert.Equal("5s 400ms 10s off off", await AskAsync<string>(direct, Settings));
        Assert.False(direct.Database.LimitsInTransaction);
        foreach (var through in (PgBouncerServer[])[proxy, silent])
        {
            var state = await _database.OpenAsync(through.Through(_database.ConnectionString));
            Assert.True(state.Database.LimitsInTransaction);
            Assert.Equal("5s 400ms 5s off off", await AskAsync<string>(state, Settings));
            // Nothing of it stays on the server's session, which the next client gets.
            await using var next = new NpgsqlConnection(through.Through(_database.ConnectionString));
            await next.OpenAsync(Stop);
            await using var command = new NpgsqlCommand(Settings, next);
            Assert.Equal("0 0 0 on on", await command.ExecuteScalarAsync(Stop));
        }
        Assert.Equal(2, _database.Log.Count(2202));
    }

    [Fact]
    public async Task Statements_are_prepared_on_a_session_of_ones_own_and_never_over_a_proxy()
    {
        const string Prepared = "SELECT count(*)::int FROM pg_prepared_statements WHERE name <> ''";
        // It drops the options without a word and shows a limit all the same: only the session's own number tells it from the server.
        await using var proxy = await PgBouncerServer.StartAsync(_database.ConnectionString, "ignore_startup_parameters = options");
        await _database.ExecuteAsync($"ALTER DATABASE {_database.Name} SET statement_timeout = '30s'");
        var direct = await _database.OpenAsync();
        var through = await _database.OpenAsync(proxy.Through(_database.ConnectionString));
        for (var i = 0; i < 4; i++)
        {
            await direct.Runs.ClaimAsync(PostgresDatabase.Claim(2 * i, i + 1), Stop);
            await through.Runs.ClaimAsync(PostgresDatabase.Claim((2 * i) + 1, i + 1), Stop);
        }

        Assert.InRange(await AskAsync<int>(direct, Prepared), 1, 50);
        Assert.Equal(0, await AskAsync<int>(through, Prepared));
        Assert.True(through.Database.LimitsInTransaction);
    }

    [Fact]
    public async Task Commits_wait_for_the_disk_although_the_server_says_otherwise()
    {
        await _database.ExecuteAsync($"ALTER DATABASE {_database.Name} SET synchronous_commit = off");
        var state = await _database.OpenAsync();
        await state.Runs.ClaimAsync(PostgresDatabase.Claim(0), Stop);
        // The trigger sees the setting that the commit will have.
        await _database.ExecuteAsync(
            """
            CREATE TABLE seen (mode text);
            CREATE FUNCTION look() RETURNS trigger LANGUAGE plpgsql AS
              $$ BEGIN INSERT INTO seen VALUES (current_setting('synchronous_commit')); RETURN NULL; END $$;
            CREATE TRIGGER look AFTER INSERT OR UPDATE ON scheduler.runs FOR EACH ROW EXECUTE FUNCTION look();
            """
        );

        var run = Assert.IsType<ClaimResult.Claimed>(await state.Runs.ClaimAsync(PostgresDatabase.Claim(1), Stop)).Run;
        await state.Runs.CompleteAsync(PostgresDatabase.Succeeded(run), Stop);
        await state.Runs.RequestAsync(new RunRequest("settle", PostgresDatabase.Key, null, PostgresDatabase.Noon), Stop);
        await state.Runs.RecordOverlappedAsync(
            [new Occurrence("settle", "nightly", PostgresDatabase.Noon.AddHours(1))],
            PostgresDatabase.Key,
            PostgresDatabase.Noon,
            Stop
        );

        Assert.Equal("on,on,on,on", await _database.AskAsync<string>("SELECT string_agg(mode, ',') FROM seen"));
    }

    [Fact]
    public async Task A_fence_of_another_key_and_a_run_of_another_key_are_errors_and_raise_nothing()
    {
        var state = await _database.OpenAsync();
        var run = Assert.IsType<ClaimResult.Claimed>(await state.Runs.ClaimAsync(PostgresDatabase.Claim(0), Stop)).Run;
        await _database.ExecuteAsync("INSERT INTO scheduler.fences VALUES ('test', 'k', 'other', 1, now())");

        var fenced = await Assert.ThrowsAsync<InvalidOperationException>(() =>
            state.Runs.ClaimAsync(PostgresDatabase.Claim(1, key: LockKey.From("k")), Stop).AsTask()
        );
        Assert.Contains("'other'", fenced.Message, StringComparison.Ordinal);
        var wrong = PostgresDatabase.Claim(0, 7, key: LockKey.From("else")) with { Occurrence = null, RunId = run.Id };
        await Assert.ThrowsAsync<ArgumentException>(() => state.Runs.ClaimAsync(wrong, Stop).AsTask());
        Assert.Equal(0, await _database.AskAsync<long>("SELECT count(*) FROM scheduler.fences WHERE resource = 'else'"));
    }

    [GeneratedRegex(
        @"^errors (?<errors>\d+) claimed (?<claimed>\d+) recorded (?<recorded>\d+) longest",
        RegexOptions.ExplicitCapture,
        matchTimeoutMilliseconds: 1_000
    )]
    private static partial Regex FinishedLine();

    // On a session of the State itself.
    private static ValueTask<T> AskAsync<T>(PostgresState state, string question) =>
        state.Database.CallAsync(
            batch => batch.Add(question),
            static async reader =>
            {
                await reader.ReadAsync();
                return reader.GetFieldValue<T>(0);
            },
            Stop
        );
}
