using Microsoft.Extensions.Logging.Abstractions;
using Npgsql;
using Scheduler.Hosting;
using Scheduler.Locking;
using Scheduler.Postgres.Leases;
using Scheduler.Postgres.State;
using Scheduler.Runs;
using Scheduler.Testing;
using Scheduler.Testing.Servers;
using Scheduler.Tests.Architecture;

namespace Scheduler.Tests.Postgres;

/// <summary>Schemas of earlier builds, brought to this one's version while replicas of those builds go on.</summary>
public sealed class PostgresMigrationTests : IAsyncLifetime
{
    // As the build of version 1 sends it.
    private const string FormerRequest =
        "INSERT INTO scheduler.runs (group_name, id, job, trigger_name, kind, scheduled_at, lock_key, data, state, attempt, request_key) "
        + "VALUES ('test', gen_random_uuid(), 'settle', '', 'manual', now(), 'job:settle', NULL, 'waiting', 0, NULL) "
        + "ON CONFLICT DO NOTHING";

    private PostgresDatabase _database = null!;

    private static CancellationToken Stop => TestContext.Current.CancellationToken;

    public async ValueTask InitializeAsync() => _database = await PostgresDatabase.CreateAsync();

    // Compares the tables that tell the same.
    public ValueTask DisposeAsync() => _database.DisposeAsync();

    [Fact]
    public async Task A_migration_that_fails_leaves_nothing_and_one_that_is_missing_is_applied()
    {
        var next = Migrations.BuildVersion + 1;
        var broken = new Migration(next, next, "CREATE TABLE {schema}.extra (id int); SELECT 1 / 0");

        await Assert.ThrowsAsync<PostgresException>(() => MigrateAsync([.. Migrations.All, broken]));
        Assert.Equal(0, await _database.AskAsync<long>("SELECT count(*) FROM pg_namespace WHERE nspname = 'scheduler'"));

        await _database.OpenAsync();
        await MigrateAsync([.. Migrations.All, broken with { Sql = "CREATE TABLE {schema}.extra (id int)" }]);
        Assert.Equal(next, await _database.AskAsync<int>("SELECT version FROM scheduler.scheduler_schema"));
        Assert.Equal(0, await _database.AskAsync<long>("SELECT count(*) FROM scheduler.extra"));
    }

    [Fact]
    public async Task Version_2_knows_what_is_open_and_what_lasted_long_and_serves_version_1_as_well()
    {
        await MigrateAsync([Migrations.All[0]]);
        await _database.ExecuteAsync(
            """
            INSERT INTO scheduler.runs (group_name, id, job, trigger_name, kind, scheduled_at, lock_key, state, attempt, started_at,
              finished_at)
            SELECT 'test', gen_random_uuid(), 'settle', 'nightly', 'scheduled', t, 'job:' || state, state, 1, t, t + took
            FROM (VALUES ('running', 0, null), ('waiting', 1, interval '100 ms'), ('interrupted', 2, interval '3 s'), ('orphaned', 3, null),
              ('succeeded', 4, interval '999 ms'), ('dead', 5, interval '1 s')) AS v (state, minute, took),
              LATERAL (SELECT timestamptz '2026-01-31 12:00Z' + minute * interval '1 minute') AS at (t)
            """
        );

        var state = await _database.OpenAsync();

        Assert.Equal(1, await _database.AskAsync<int>("SELECT min_reader FROM scheduler.scheduler_schema"));
        Assert.Equal(
            [RunState.Running, RunState.Waiting, RunState.Interrupted, RunState.Orphaned],
            (await OpenRunsAsync(state)).Select(r => r.State)
        );
        Assert.Equal(
            "12:02:03 12:05:01",
            await _database.AskAsync<string>(
                "SELECT string_agg(to_char(ended_at AT TIME ZONE 'UTC', 'HH24:MI:SS'), ' ' ORDER BY ended_at) FROM scheduler.long_attempts"
            )
        );
        await _database.ExecuteAsync(FormerRequest);
        await _database.ExecuteAsync(FormerClaim("former"));
        Assert.Equal(6, await _database.AskAsync<long>("SELECT count(*) FROM scheduler.open_runs"));
    }

    [Fact]
    public async Task Claims_under_way_are_open_after_the_migration()
    {
        await MigrateAsync([Migrations.All[0]]);
        // One has written and not committed, and one has just begun.
        await using var written = await ConnectAsync();
        await using var writing = await written.BeginTransactionAsync(Stop);
        await ExecuteAsync(written, FormerClaim("written"));
        await using var begun = await ConnectAsync();
        await using var fences = await ConnectAsync();
        await using var blocking = await fences.BeginTransactionAsync(Stop);
        await ExecuteAsync(fences, "INSERT INTO scheduler.fences VALUES ('test', 'job:begun', 'job:begun', 1, now())");
        var beginning = ExecuteAsync(begun, FormerClaim("begun"));
        await WaitingAsync(begun);

        await using var migrating = await ConnectAsync();
        var migration = MigrateAsync(Migrations.All, migrating);
        await WaitingAsync(migrating);
        await writing.CommitAsync(Stop);
        await migration;
        await blocking.RollbackAsync(Stop);
        await beginning;

        var state = await _database.OpenAsync();
        Assert.Equal(["begun", "written"], (await OpenRunsAsync(state)).Select(r => r.Trigger).Order());
    }

    [Fact]
    public async Task The_roles_of_the_documentation_suffice_also_for_what_a_release_brings()
    {
        var (owner, replicas) = ($"o{Guid.NewGuid():N}", $"r{Guid.NewGuid():N}");
        var blocks = SetUps();
        await RunAsync(blocks[1], owner, replicas);
        await using var migrating = await ConnectAsync(As(owner));
        await MigrateAsync([Migrations.All[0]], migrating);
        await RunAsync(blocks[2], owner, replicas);
        var asReplicas = _database.State(As(replicas));
        // A release to come.
        await Assert.ThrowsAsync<StateUnavailableException>(async () => await asReplicas.OpenAsync(Stop));

        await MigrateAsync(Migrations.All, migrating);
        await asReplicas.OpenAsync(Stop);
        var run = Assert.IsType<ClaimResult.Claimed>(await asReplicas.Runs.ClaimAsync(PostgresDatabase.Claim(0), Stop)).Run;
        Assert.Equal(CompletionResult.Accepted, await asReplicas.Runs.CompleteAsync(PostgresDatabase.Succeeded(run), Stop));
        Assert.Equal(1, await asReplicas.Runs.PruneAsync(PostgresDatabase.Noon.AddDays(1), 100, Stop));
    }

    [Fact]
    public async Task The_role_of_the_plainest_set_up_suffices_for_locks_and_State()
    {
        var owner = $"o{Guid.NewGuid():N}";
        await RunAsync(SetUps()[0], owner, replicas: "");

        var state = await _database.OpenAsync(As(owner));
        Assert.IsType<ClaimResult.Claimed>(await state.Runs.ClaimAsync(PostgresDatabase.Claim(0), Stop));
        var replica = ReplicaIdentity.Create("replica");
        var context = new BackendContext("test", replica, new LeaseOptions(), TimeProvider.System, _database.Log);
        await using var locks = new PostgresLeaseStore(context, As(owner));
        await locks.CheckAsync(LockStoreUse.Unused, Stop);
        var request = new AcquireRequest(PostgresDatabase.Key, new LeaseOwner(replica.Id, 1), "test", TimeSpan.FromSeconds(10));
        Assert.IsType<AcquireResult.Granted>(await locks.AcquireAsync(request, Stop));
    }

    // The blocks of the documentation that make roles: the plainest set-up, and the two with the least rights.
    private static string[] SetUps()
    {
        string[] blocks =
        [
            .. File.ReadAllText(Path.Combine(Repository.Root, "docs", "postgres.md"))
                .Split("```sql\n")
                .Skip(1)
                .Select(b => b[..b.IndexOf("```", StringComparison.Ordinal)])
                .Where(b => b.Contains("CREATE ROLE", StringComparison.Ordinal)),
        ];
        Assert.Equal(3, blocks.Length);
        return blocks;
    }

    private string As(string role) => _database.With(b => (b.Username, b.Password, b.Pooling) = (role, PostgresServer.Password, false));

    private Task RunAsync(string sql, string owner, string replicas) =>
        _database.ExecuteAsync(
            sql.Replace("ROLE scheduler", $"ROLE {owner}", StringComparison.Ordinal)
                .Replace("TO scheduler", $"TO {owner}", StringComparison.Ordinal)
                .Replace("AUTHORIZATION scheduler", $"AUTHORIZATION {owner}", StringComparison.Ordinal)
                .Replace("replicas", replicas, StringComparison.Ordinal)
                .Replace("shop", _database.Name, StringComparison.Ordinal)
                .Replace("…", PostgresServer.Password, StringComparison.Ordinal)
        );

    [Fact]
    public async Task Pruning_takes_away_what_stands_for_no_open_run()
    {
        var state = await _database.OpenAsync();
        await state.Runs.ClaimAsync(PostgresDatabase.Claim(0), Stop);
        await state.Runs.ClaimAsync(PostgresDatabase.Claim(1, 2), Stop);
        await state.Runs.ClaimAsync(PostgresDatabase.Claim(2, 3), Stop);
        await _database.ExecuteAsync(
            "DELETE FROM scheduler.runs WHERE token = 1; UPDATE scheduler.runs SET state = 'succeeded' WHERE token = 2"
        );

        await state.Runs.PruneAsync(PostgresDatabase.Noon.AddDays(-1), 100, Stop);

        Assert.Equal(1, await _database.AskAsync<long>("SELECT count(*) FROM scheduler.open_runs"));
    }

    private static string FormerClaim(string name) =>
        $"SELECT scheduler.claim_occurrence('test', gen_random_uuid(), 'settle', '{name}', now(), 'job:{name}', 1, 'r1', now(), NULL)";

    private static async Task<IReadOnlyList<RunRecord>> OpenRunsAsync(PostgresState state) =>
        (await state.Runs.OpenRunsAsync(new OpenRunsQuery(PostgresDatabase.Noon.AddDays(1)), Stop)).Items;

    private async Task MigrateAsync(IReadOnlyList<Migration> migrations, NpgsqlConnection? connection = null)
    {
        await using var own = connection is null ? await ConnectAsync() : null;
        var place = new StatePlace(_database.ConnectionString, "scheduler");
        await Migrations.ApplyAsync((connection ?? own)!, place, NullLogger.Instance, migrations);
    }

    private async Task<NpgsqlConnection> ConnectAsync(string? connectionString = null)
    {
        var connection = new NpgsqlConnection(connectionString ?? _database.ConnectionString);
        await connection.OpenAsync(Stop);
        return connection;
    }

    private static async Task ExecuteAsync(NpgsqlConnection connection, string sql)
    {
        await using var command = new NpgsqlCommand(sql, connection);
        await command.ExecuteNonQueryAsync(Stop);
    }

    private Task WaitingAsync(NpgsqlConnection connection) =>
        Eventually.Holds(async () =>
            await _database.AskAsync<long>($"SELECT count(*) FROM pg_locks WHERE pid = {connection.ProcessID} AND NOT granted") == 1
        );
}
