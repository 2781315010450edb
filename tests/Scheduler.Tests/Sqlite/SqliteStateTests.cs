using System.Data.Common;
using Dapper;
using Scheduler.Runs;
using Scheduler.Sqlite;
using Scheduler.Sqlite.State;
using Scheduler.Tests.Conformance;

namespace Scheduler.Tests.Sqlite;

public sealed class SqliteStateTests : StateConformance
{
    protected override StateFixture NewFixture() => new Fixture();

    [Fact]
    public async Task A_network_file_system_is_refused_for_good_before_anything_is_made()
    {
        await using var fixture = new Fixture();
        var folder = Directory.CreateTempSubdirectory("state-");
        try
        {
            var mounts = Path.Combine(folder.FullName, "mounts");
            await File.WriteAllTextAsync(
                mounts,
                $"22 1 254:1 / / rw - ext4 /dev/vda1 rw\n23 22 0:40 / {folder.FullName}/net rw - nfs4 server:/x rw\n",
                TestContext.Current.CancellationToken
            );
            Directory.CreateDirectory(Path.Combine(folder.FullName, "net"));
            var file = Path.Combine(folder.FullName, "net", "made", "state.db");
            using var database = new StateDatabase(fixture.Context("g"), $"Data Source={file}", mounts);

            var problem = await Assert.ThrowsAsync<StateUnavailableException>(async () =>
                await database.OpenAsync(TestContext.Current.CancellationToken)
            );

            Assert.True(problem.IsPermanent);
            Assert.Contains(file, problem.Message, StringComparison.Ordinal);
            Assert.Contains("'nfs4'", problem.Message, StringComparison.Ordinal);
            Assert.Contains("Scheduler:State:ConnectionString", problem.Message, StringComparison.Ordinal);
            Assert.Empty(Directory.EnumerateFileSystemEntries(Path.Combine(folder.FullName, "net")));
        }
        finally
        {
            folder.Delete(recursive: true);
        }
    }

    [Fact]
    public async Task The_look_at_what_a_trigger_did_lately_does_not_read_its_history()
    {
        await using var files = new StateFolder();
        var state = await files.OpenAsync();

        // Every replica asks this for each trigger once a second, however long the history is.
        var plan = await state.Database.ReadAsync(
            c =>
                c.Query(
                        $"EXPLAIN QUERY PLAN SELECT * FROM runs {RunQueries.OccurrencesTail}",
                        new
                        {
                            group = "",
                            job = "",
                            trigger = "",
                            after = 0,
                            until = 0,
                        }
                    )
                    .Select(row => (string)row.detail)
                    .ToList(),
            TestContext.Current.CancellationToken
        );

        Assert.DoesNotContain(plan, step => step.StartsWith("SCAN", StringComparison.Ordinal));
        string[] bounds =
        [
            .. plan.Where(step => step.StartsWith("SEARCH", StringComparison.Ordinal))
                .Select(step => step[step.IndexOf('(', StringComparison.Ordinal)..]),
        ];
        Assert.Equal(
            [
                "(rowid=?)",
                "(group_name=? AND job=? AND trigger_name=? AND scheduled_at>? AND scheduled_at<?)",
                "(group_name=? AND job=? AND trigger_name=? AND finished_at>?)",
            ],
            bounds
        );
    }

    [Fact]
    public async Task Pruning_goes_in_steps_of_any_size_and_takes_exactly_what_it_may()
    {
        await using var files = new StateFolder();
        // A clock that goes on: the steps are as long as they take.
        var state = await files.OpenAsync(TimeProvider.System);
        var cancel = TestContext.Current.CancellationToken;
        List<Occurrence> old =
        [
            .. Enumerable.Range(0, 300).Select(i => new Occurrence("settle", "nightly", StateFolder.Noon.AddMinutes(i))),
        ];
        await state.Runs.RecordOverlappedAsync(old, StateFolder.Key, StateFolder.Noon, cancel);
        await state.Runs.RecordOverlappedAsync([old[0] with { Trigger = "other" }], StateFolder.Key, StateFolder.Noon.AddDays(1), cancel);

        foreach (var (limit, deleted) in ((int, int)[])[(1, 1), (53, 53), (51, 51), (150, 150), (1_000, 45), (1_000, 0)])
        {
            Assert.Equal(deleted, await state.Runs.PruneAsync(StateFolder.Noon.AddHours(1), limit, cancel));
        }
        Assert.Equal(1, files.Runs());
    }

    [Fact]
    public async Task Pages_of_the_history_are_read_in_the_order_of_an_index()
    {
        await using var files = new StateFolder();
        var state = await files.OpenAsync();
        var cursor = $"{StateFolder.Noon.ToUnixTimeMilliseconds()}_x";
        RunQuery[] queries =
        [
            new(Cursor: cursor),
            new("j", Cursor: cursor),
            new("j") { Trigger = "t", From = StateFolder.Noon },
            new() { Trigger = RunRecord.ManualTrigger, To = StateFolder.Noon },
            new(State: RunState.Dead, Cursor: cursor),
            new("j", RunState.Failed, Cursor: cursor) { From = StateFolder.Noon },
            new(State: RunState.Running, Cursor: cursor),
        ];
        Assert.Equal(Enum.GetValues<RunListSource>().Order(), queries.Select(q => new RunListing(q).Source).Order());
        foreach (var query in queries)
        {
            var sql = $"SELECT * {RunList.Range(new RunListing(query))} ORDER BY scheduled_at DESC, id DESC LIMIT 100";
            var plan = await state.Database.ReadAsync(
                c =>
                    c.Query(
                            $"EXPLAIN QUERY PLAN {sql}",
                            new
                            {
                                group = "",
                                job = "",
                                trigger = "",
                                state = "",
                                from = 0,
                                at = 0,
                                id = "",
                            }
                        )
                        .Select(row => (string)row.detail)
                        .ToList(),
                TestContext.Current.CancellationToken
            );

            // Nothing is sorted, and the range is a part of what is looked up.
            var step = Assert.Single(plan);
            Assert.StartsWith("SEARCH", step, StringComparison.Ordinal);
            Assert.True(query.From is null || step.Contains("scheduled_at>?", StringComparison.Ordinal), step);
            Assert.True((query.Cursor ?? (object?)query.To) is null || step.Contains("<(?,?)", StringComparison.Ordinal), step);
        }
    }

    private sealed class Fixture : StateFixture
    {
        private readonly DirectoryInfo _folder = Directory.CreateTempSubdirectory("state-");

        private string ConnectionString => $"Data Source={_folder.FullName}/made/state.db";

        public override IState Make(string group) => new SqliteState(Context(group), ConnectionString);

        public override DbDataSource OpenBeside() => SqliteDatabase.Create(ConnectionString);

        public override async Task SetSchemaAsync(int versionAbove, int minReaderAbove)
        {
            await using var database = SqliteDatabase.Create(ConnectionString);
            await using var connection = await database.OpenConnectionAsync(TestContext.Current.CancellationToken);
            await connection.ExecuteAsync(
                "UPDATE schema SET version = @version, min_reader = @reader",
                new { version = Migrations.BuildVersion + versionAbove, reader = Migrations.BuildVersion + minReaderAbove }
            );
        }

        public override ValueTask DisposeAsync()
        {
            _folder.Delete(recursive: true);
            return ValueTask.CompletedTask;
        }
    }
}
