using Npgsql;
using Scheduler.Jobs;
using Scheduler.Locking;
using Scheduler.Postgres.State;
using Scheduler.Runs;
using Scheduler.Sqlite.Leases;
using Scheduler.Testing;
using Scheduler.Testing.Servers;
using Scheduler.Tests.Jobs;

namespace Scheduler.Tests.Postgres;

/// <summary>A State whose server fails and whose standby, which copies it by streaming, takes its place.</summary>
public sealed class PostgresFailOverTests : IAsyncLifetime
{
    private readonly DirectoryInfo _folder = Directory.CreateTempSubdirectory("fail-over-");
    private StandbyPair _pair = null!;
    private PostgresDatabase _database = null!;

    private static CancellationToken Stop => TestContext.Current.CancellationToken;

    public async ValueTask InitializeAsync()
    {
        _pair = await StandbyPair.StartAsync();
        _database = await PostgresDatabase.CreateAsync(_pair.Primary);
        await _pair.CopiedAsync();
    }

    public async ValueTask DisposeAsync()
    {
        // The database is looked through at its end.
        await _pair.Primary.RestartAsync();
        await _database.DisposeAsync();
        await _pair.DisposeAsync();
        _folder.Delete(recursive: true);
    }

    [Fact]
    public async Task An_asynchronous_standby_forgets_a_claim_that_was_confirmed_and_the_state_says_so_before()
    {
        var state = await _database.OpenAsync();
        Assert.Equal(Level.Efficiency, state.Level);
        Assert.Contains("1 other server(s) copy it asynchronously", state.Weakness, StringComparison.Ordinal);
        Assert.Equal(1, _database.Log.Count(2201));
        await ClaimedAsync(state, 0, "r1");
        await _pair.CopiedAsync();

        // The standby falls behind, and nobody waits for it.
        _pair.Wire.ToClient.Hold();
        await ClaimedAsync(state, 1, "r1");
        var after = await FailOverAsync();

        Assert.IsType<ClaimResult.Recorded>(await ClaimAsync(after, 0, "r2"));
        // The second claim of one occurrence: its job runs twice.
        await ClaimedAsync(after, 1, "r2");
    }

    [Fact]
    public async Task A_synchronous_standby_has_every_claim_that_was_confirmed()
    {
        await _pair.SynchronousAsync();
        var state = await _database.OpenAsync();
        Assert.Equal(Level.Correctness, state.Level);
        Assert.Null(state.Weakness);
        await ClaimedAsync(state, 0, "r1");

        // The standby falls behind: nothing is confirmed until it is there.
        _pair.Wire.ToClient.Hold();
        var claiming = ClaimAsync(state, 1, "r1");
        await _pair.WaitedForAsync();
        Assert.False(claiming.IsCompleted);
        _pair.Wire.Heal();
        Assert.IsType<ClaimResult.Claimed>(await claiming);
        var after = await FailOverAsync();

        Assert.IsType<ClaimResult.Recorded>(await ClaimAsync(after, 0, "r2"));
        Assert.IsType<ClaimResult.Recorded>(await ClaimAsync(after, 1, "r2"));
    }

    [Fact]
    public async Task A_job_that_demands_correctness_starts_only_with_a_synchronous_standby()
    {
        using var group = new Group();
        await using (var replica = Strict(group))
        {
            var refused = await Assert.ThrowsAsync<SchedulerConfigurationException>(replica.StartAsync);
            Assert.Contains(
                "Job 'strict' demands Level.Correctness, but lock store 'sqlite' gives Level.Correctness, and State 'postgres' gives "
                    + "Level.Efficiency (1 other server(s) copy it asynchronously",
                refused.Message,
                StringComparison.Ordinal
            );
            Assert.Contains("Set synchronous_standby_names", refused.Message, StringComparison.Ordinal);
            Assert.Contains("or lower the job's Level", refused.Message, StringComparison.Ordinal);
        }
        Assert.Empty(group.Bodies.Events);

        await _pair.SynchronousAsync();
        await using var accepted = Strict(group);
        await accepted.StartAsync();
        await Eventually.Holds(() => accepted.Status.IsReady, what: "the replica is ready");
    }

    [Fact]
    public async Task A_backup_is_no_standby()
    {
        await _pair.Standby.KillAsync();
        await Eventually.Holds(
            async () => await _database.AskAsync<long>("SELECT count(*) FROM pg_stat_replication") == 0,
            what: "the standby is gone"
        );
        // It waits for a checkpoint that comes after minutes.
        var place = new NpgsqlConnectionStringBuilder(_database.ConnectionString);
        var folder = Directory.CreateTempSubdirectory("scheduler-backup-");
        var start = new System.Diagnostics.ProcessStartInfo(
            PostgresServer.Program("pg_basebackup"),
            [
                "-D",
                Path.Combine(folder.FullName, "data"),
                "-h",
                place.Host!,
                "-p",
                $"{place.Port}",
                "-U",
                PostgresServer.User,
                "-X",
                "none",
                "--max-rate=32k",
            ]
        )
        {
            UseShellExecute = false,
            RedirectStandardError = true,
        };
        start.Environment["PGPASSWORD"] = PostgresServer.Password;
        using var backup = System.Diagnostics.Process.Start(start)!;
        try
        {
            await Eventually.Holds(
                async () => await _database.AskAsync<long>("SELECT count(*) FROM pg_stat_replication WHERE state = 'backup'") > 0,
                what: "the backup has begun"
            );
            Assert.Equal(Level.Correctness, (await _database.OpenAsync()).Level);
        }
        finally
        {
            backup.Kill();
            await backup.WaitForExitAsync(Stop);
            folder.Delete(recursive: true);
        }
    }

    private Replica Strict(Group group) =>
        Replica.Build(
            group,
            configure: l =>
            {
                l.AddJob(new JobDefinition("strict", typeof(PlainJob), []) { Level = Level.Correctness });
                l.UsePostgresState(_database.ConnectionString);
                l.UseSqliteLocks($"Data Source={Path.Combine(_folder.FullName, "locks.db")}");
            }
        );

    /// <summary>The State that is found under the address that leads to the primary.</summary>
    private async Task<PostgresState> FailOverAsync()
    {
        await _pair.FailOverAsync();
        return await _database.OpenAsync(_pair.Standby.ConnectionString(_database.Name));
    }

    private static async Task<ClaimResult> ClaimAsync(PostgresState state, int minute, string replica) =>
        await state.Runs.ClaimAsync(PostgresDatabase.Claim(minute, token: replica == "r1" ? 1 : 2, replica), Stop);

    private static async Task ClaimedAsync(PostgresState state, int minute, string replica) =>
        Assert.IsType<ClaimResult.Claimed>(await ClaimAsync(state, minute, replica));
}
