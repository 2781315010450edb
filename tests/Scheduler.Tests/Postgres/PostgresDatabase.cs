using Npgsql;
using Scheduler.Hosting;
using Scheduler.Locking;
using Scheduler.Postgres.Signals;
using Scheduler.Postgres.State;
using Scheduler.Runs;
using Scheduler.Testing;
using Scheduler.Testing.Servers;

namespace Scheduler.Tests.Postgres;

/// <summary>A database of its own, and States that use it.</summary>
internal sealed class PostgresDatabase : IAsyncDisposable
{
    public static readonly DateTimeOffset Noon = new(2026, 1, 31, 12, 0, 0, TimeSpan.Zero);
    public static readonly LockKey Key = LockKey.From("job:settle");

    private readonly List<PostgresState> _states = [];

    private PostgresDatabase(PostgresServer server, string connectionString)
    {
        Server = server;
        ConnectionString = connectionString;
    }

    public PostgresServer Server { get; }

    /// <summary>The superuser's.</summary>
    public string ConnectionString { get; }

    public string Name => new NpgsqlConnectionStringBuilder(ConnectionString).Database!;

    public LogCapture Log { get; } = new();

    private static CancellationToken Stop => TestContext.Current.CancellationToken;

    /// <summary>On the server that is shared by the tests, or on one's own.</summary>
    public static async Task<PostgresDatabase> CreateAsync(PostgresServer? server = null)
    {
        server ??= await PostgresServer.SharedAsync();
        return new PostgresDatabase(server, await server.CreateDatabaseAsync());
    }

    public PostgresState State(
        string? connectionString = null,
        string group = "test",
        string schema = PostgresState.DefaultSchema,
        TimeSpan? callTimeout = null,
        string? listening = null,
        ListenerTimes? times = null
    )
    {
        var leases = new LeaseOptions { CallTimeout = callTimeout ?? TimeSpan.FromSeconds(1) };
        var context = new BackendContext(group, ReplicaIdentity.Create("replica"), leases, TimeProvider.System, Log);
        var state = new PostgresState(context, connectionString ?? ConnectionString, schema, listening, times ?? new ListenerTimes());
        _states.Add(state);
        return state;
    }

    public async Task<PostgresState> OpenAsync(string? connectionString = null, string group = "test", TimeSpan? callTimeout = null)
    {
        var state = State(connectionString, group, callTimeout: callTimeout);
        await state.OpenAsync(Stop);
        return state;
    }

    public string With(Action<NpgsqlConnectionStringBuilder> change)
    {
        var builder = new NpgsqlConnectionStringBuilder(ConnectionString);
        change(builder);
        return builder.ConnectionString;
    }

    /// <summary>Executes statements as the superuser, beside the State.</summary>
    public Task ExecuteAsync(string sql) => Server.ExecuteAsync(sql, Name);

    /// <summary>Asks for one value as the superuser, beside the State.</summary>
    public Task<T> AskAsync<T>(string sql) => Server.AskAsync<T>(sql, Name);

    /// <summary>How many pages the States have read since the database was made. Ends their sessions: those report what they read when
    /// they are idle for a while, or end.</summary>
    public async Task<long> PagesReadAsync()
    {
        await ExecuteAsync(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = current_database() "
                + "AND application_name = 'scheduler'"
        );
        return await PagesAsync();
    }

    /// <summary>The same, as far as it is reported. Entries that an index looks at and passes over are counted nowhere else.</summary>
    public Task<long> PagesAsync() =>
        AskAsync<long>(
            """
            SELECT (SELECT sum(idx_blks_hit + idx_blks_read) FROM pg_statio_user_indexes WHERE schemaname = 'scheduler')::bigint
              + (SELECT sum(heap_blks_hit + heap_blks_read) FROM pg_statio_user_tables WHERE schemaname = 'scheduler')::bigint
            """
        );

    public static ClaimRequest Claim(int minute, long token = 1, string replica = "r1", string trigger = "nightly", LockKey? key = null) =>
        new()
        {
            Occurrence = new Occurrence("settle", trigger, Noon.AddMinutes(minute)),
            LockKey = key ?? Key,
            Token = new FencingToken(token),
            Replica = replica,
            Now = Noon,
        };

    public static Completion Succeeded(RunRecord run) =>
        new()
        {
            RunId = run.Id,
            Attempt = run.Attempt,
            Token = run.Token,
            Outcome = RunOutcome.Succeeded,
            Now = Noon.AddSeconds(1),
        };

    /// <summary>
    /// What a table says beside the runs is what the runs say: after every test, whatever it did. A database without the tables passes.
    /// </summary>
    public static async Task CheckAsync(string connectionString)
    {
        await using var connection = new NpgsqlConnection(
            new NpgsqlConnectionStringBuilder(connectionString) { Pooling = false }.ConnectionString
        );
        await connection.OpenAsync();
        foreach (var schema in await SchemasWithAsync(connection, "open_runs"))
        {
            await SameAsync(
                connection,
                $"""
                SELECT count(*) FROM
                  (SELECT * FROM "{schema}".runs WHERE {RunReader.IsOpen}) r
                  FULL JOIN "{schema}".open_runs o ON o.group_name = r.group_name AND o.run_id = r.id
                WHERE o.run_id IS NULL OR r.id IS NULL
                  OR (o.kind, o.due_at, o.lock_key, o.requested) IS DISTINCT FROM ("{schema}".open_kind(r.state),
                    coalesce(r.next_attempt_at, r.scheduled_at), r.lock_key, CASE r.kind WHEN 'manual' THEN r.job END)
                """
            );
        }
        await CheckTurnsAsync(connection);
        foreach (var schema in await SchemasWithAsync(connection, "unsuccessful_runs"))
        {
            await SameAsync(
                connection,
                $"""
                SELECT count(*) FROM
                  (SELECT * FROM "{schema}".runs WHERE state IN ('failed', 'dead', 'overlapped')) r
                  FULL JOIN "{schema}".unsuccessful_runs u ON u.group_name = r.group_name AND u.run_id = r.id AND u.state = r.state
                    AND u.scheduled_at = r.scheduled_at AND u.job = r.job
                WHERE u.run_id IS NULL OR r.id IS NULL
                """
            );
        }
    }

    // The first unfinished event of an order has its turn; under the second it has what a person is to settle before it.
    private static async Task CheckTurnsAsync(NpgsqlConnection connection)
    {
        foreach (var schema in await SchemasWithAsync(connection, "inbox_turns", "trigger"))
        {
            await SameAsync(
                connection,
                $"""
                SELECT count(*) FROM (
                  SELECT state, turn, number, order_key,
                    min(number) FILTER (WHERE state IN ('received', 'processing', 'failed')) OVER same AS first_open,
                    min(number) FILTER (WHERE state IN ('dead', 'conflict')) OVER same AS first_stuck
                  FROM "{schema}".inbox WINDOW same AS (PARTITION BY group_name, source, order_key)
                ) i
                WHERE i.state IN ('received', 'processing', 'failed') AND i.turn IS DISTINCT FROM 1
                  AND (i.order_key IS NULL OR i.first_open >= i.number AND NOT coalesce(i.turn = 2 AND i.first_stuck < i.number, false))
                """
            );
        }
    }

    private static async Task<List<string>> SchemasWithAsync(NpgsqlConnection connection, string name, string kind = "table")
    {
        await using var find = new NpgsqlCommand(
            kind == "table"
                ? $"SELECT schemaname FROM pg_tables WHERE tablename = '{name}' ORDER BY 1"
                : "SELECT n.nspname FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid JOIN pg_namespace n ON n.oid = c.relnamespace "
                    + $"WHERE t.tgname = '{name}' ORDER BY 1",
            connection
        );
        var schemas = new List<string>();
        await using var reader = await find.ExecuteReaderAsync();
        while (await reader.ReadAsync())
        {
            schemas.Add(reader.GetString(0));
        }
        return schemas;
    }

    private static async Task SameAsync(NpgsqlConnection connection, string countDifferent)
    {
        await using var differ = new NpgsqlCommand(countDifferent, connection);
        Assert.Equal(0L, await differ.ExecuteScalarAsync());
    }

    public async ValueTask DisposeAsync()
    {
        foreach (var state in _states)
        {
            await state.DisposeAsync();
        }
        await CheckAsync(ConnectionString);
        await Server.ForgetDatabaseAsync(ConnectionString);
    }
}
