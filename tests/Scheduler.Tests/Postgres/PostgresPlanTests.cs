using System.Text.RegularExpressions;
using Npgsql;
using Scheduler.Locking;
using Scheduler.Postgres.State;
using Scheduler.Runs;

namespace Scheduler.Tests.Postgres;

/// <summary>What every replica asks all the time reads no more, however long the history is.</summary>
public sealed partial class PostgresPlanTests : IAsyncLifetime
{
    private const int Rows = 60_000;

    /// <summary>What a claim and its completion read and write at most; an index of the history alone has several hundred.</summary>
    private const int MostPages = 60;

    private const int InGroup = 10;

    private static readonly RunQuery[] Lists =
    [
        new(),
        new("settle", Cursor: $"{PostgresDatabase.Noon.AddMinutes(-5_000).ToUnixTimeMilliseconds()}_x"),
        new("settle") { Trigger = "nightly" },
        new() { Trigger = RunRecord.ManualTrigger },
        new(State: RunState.Dead),
        new("settle", RunState.Failed) { From = PostgresDatabase.Noon.AddMinutes(-5_000), To = PostgresDatabase.Noon },
        // The rows of the first page match.
        new("settle", RunState.Succeeded) { Replica = "r1" },
    ];

    private PostgresDatabase _database = null!;
    private PostgresState _state = null!;

    private static CancellationToken Stop => TestContext.Current.CancellationToken;

    public async ValueTask InitializeAsync()
    {
        _database = await PostgresDatabase.CreateAsync();
        _state = await _database.OpenAsync();
        await FillAsync();
    }

    public ValueTask DisposeAsync() => _database.DisposeAsync();

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task Hot_queries_read_a_few_pages_of_a_long_history(bool isAnalyzed)
    {
        await _database.ExecuteAsync(isAnalyzed ? "ANALYZE scheduler.runs" : "SELECT 1");
        var place = new StatePlace(_database.ConnectionString, "scheduler");
        var (queries, lists) = (new RunQueries(place), new RunListQueries(place, "test"));
        (string Sql, object[] Values)[] asked =
        [
            (queries.Occurrences, Ranges("settle", "none")),
            // Four pages for each that it shows, and a few for each that it looks through.
            (queries.OpenRuns, ["test", At(0), 5, DateTime.MinValue, Guid.Empty, DateTime.MinValue, Guid.Empty, 15]),
            (queries.Find, ["test", Guid.CreateVersion7()]),
        ];
        if (isAnalyzed)
        {
            // For people; the server analyzes a table that has grown within its first minute.
            asked = [.. asked, .. Lists.Select(q => lists.Page(new RunListing(q))).Select(s => (s.Sql, s.Values.ToArray()))];
        }
        await using var source = NpgsqlDataSource.Create(_database.ConnectionString);
        foreach (var (sql, values) in asked)
        {
            var plan = await ExplainAsync(source, sql, values);
            Assert.DoesNotContain("Seq Scan on runs", plan, StringComparison.Ordinal);
            var pages = Pages().Matches(plan).Select(m => m.Value).First().Split('=')[1];
            Assert.True(int.Parse(pages, System.Globalization.CultureInfo.InvariantCulture) < 150, $"{pages} pages: {plan}");
        }
    }

    [Fact]
    public async Task Lists_of_what_is_rare_read_a_few_pages_after_many_of_what_is_frequent()
    {
        await _database.ExecuteAsync(
            """
            UPDATE scheduler.runs SET state = 'failed' WHERE job = 'settle' AND scheduled_at < '2026-01-31 00:00Z';
            ANALYZE scheduler.runs, scheduler.unsuccessful_runs
            """
        );
        RunQuery[] queries =
        [
            new("settle", Limit: 1),
            new("settle", Limit: 1) { Trigger = "nightly" },
            new(State: RunState.Failed, Limit: 1),
            new("settle", RunState.Failed, Limit: 1),
        ];
        foreach (var query in queries)
        {
            // A session makes a plan for all values after some that were good for theirs.
            for (var i = 0; i < 10; i++)
            {
                Assert.Single((await _state.Runs.ListAsync(query, Stop)).Items);
            }
            var rare = query.Job is null ? query with { State = RunState.Dead } : query with { Job = "rare" };
            var before = await _database.PagesReadAsync();
            for (var i = 0; i < 10; i++)
            {
                Assert.Single((await _state.Runs.ListAsync(query, Stop)).Items);
                Assert.Empty((await _state.Runs.ListAsync(rare, Stop)).Items);
            }
            Assert.InRange(await _database.PagesReadAsync() - before, 1, 20 * MostPages);
        }
    }

    [Fact]
    public async Task Claims_and_completions_read_a_few_rows_of_a_long_history()
    {
        for (var i = 1; i <= 20; i++)
        {
            await CycleAsync(i);
        }
        var before = await _database.PagesReadAsync();
        for (var i = 21; i <= 40; i++)
        {
            await CycleAsync(i);
        }
        Assert.InRange(await _database.PagesReadAsync() - before, 1, 20 * MostPages);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task Plans_that_were_made_while_the_tables_were_empty_stay_good(bool inGroups)
    {
        Func<int, Task> cycle = inGroups ? GroupCycleAsync : CycleAsync;
        await _database.ExecuteAsync("TRUNCATE scheduler.runs, scheduler.open_runs, scheduler.long_attempts CASCADE");
        // The statistics of a table that is known to be empty.
        await _database.ExecuteAsync("VACUUM ANALYZE scheduler.runs, scheduler.open_runs, scheduler.long_attempts");
        var before = await _database.PagesReadAsync();
        for (var i = 1; i <= 20; i++)
        {
            await cycle(i);
        }
        var unfilled = await _database.PagesAsync();
        await FillAsync();
        var filled = await _database.PagesAsync();
        // The sessions are those of before, with their plans.
        for (var i = 21; i <= 40; i++)
        {
            await cycle(i);
        }
        var cycles = 40 * (inGroups ? InGroup : 1);
        Assert.InRange(await _database.PagesReadAsync() - before - (filled - unfilled), 1, cycles * MostPages);
    }

    private async Task CycleAsync(int i)
    {
        var run = Assert.IsType<ClaimResult.Claimed>(await _state.Runs.ClaimAsync(PostgresDatabase.Claim(i, i), Stop)).Run;
        Assert.Equal(CompletionResult.Accepted, await _state.Runs.CompleteAsync(PostgresDatabase.Succeeded(run), Stop));
    }

    // In the form in which calls that meet are sent.
    private async Task GroupCycleAsync(int i)
    {
        var queries = new RunQueries(_state.Database.Place);
        ClaimRequest[] claims =
        [
            .. Enumerable.Range(0, InGroup).Select(k => PostgresDatabase.Claim(i, i, "r1", $"t{k}", LockKey.From($"k{k}"))),
        ];
        var answers = await new ClaimCommand(_state.Database, queries, "test").RunAsync(claims, Stop);
        Assert.All(answers, a => Assert.Null(a.Json));
        var endings = answers.Zip(
            claims,
            (a, c) => new Ending(a.Id, PostgresDatabase.Succeeded(((ClaimResult.Claimed)a.ToResult(c)).Run) with { StartedAt = c.Now })
        );
        var results = await new CompletionCommand(_state.Database, queries, "test").RunAsync([.. endings], Stop);
        Assert.All(results, r => Assert.Equal(CompletionResult.Accepted, r));
    }

    private Task FillAsync() =>
        _database.ExecuteAsync(
            $"""
            INSERT INTO scheduler.runs (group_name, id, job, trigger_name, kind, scheduled_at, lock_key, state, attempt, token, replica,
              started_at, outcome, finished_at)
            SELECT 'test', gen_random_uuid(), 'settle', 'nightly', 'scheduled', t, 'job:settle', 'succeeded', 1, i, 'r1', t, 'succeeded',
              t + interval '1 second'
            FROM (SELECT i, timestamptz '2026-01-31 12:00Z' - i * interval '1 minute' AS t FROM generate_series(1, {Rows}) i) x;
            INSERT INTO scheduler.long_attempts SELECT group_name, job, trigger_name, finished_at, id FROM scheduler.runs
            WHERE state = 'succeeded' ON CONFLICT DO NOTHING;
            INSERT INTO scheduler.runs (group_name, id, job, trigger_name, kind, scheduled_at, lock_key, state, attempt, token, replica,
              started_at)
            SELECT 'test', gen_random_uuid(), 'other', 'nightly', 'scheduled', t, 'job:other', 'running', 1, i, 'r1', t
            FROM (SELECT i, timestamptz '2026-01-31 12:00Z' - i * interval '1 minute' AS t FROM generate_series(1, 5000) i) x;
            INSERT INTO scheduler.runs (group_name, id, job, trigger_name, kind, scheduled_at, lock_key, state, attempt, next_attempt_at)
            SELECT 'test', gen_random_uuid(), 'queued', 'nightly' || i, 'scheduled', t, 'queued:' || i % 100,
              (ARRAY['waiting', 'interrupted', 'orphaned'])[1 + i % 3], 1, t
            FROM (SELECT i, timestamptz '2026-01-31 12:00Z' + (2500 - i) * interval '1 minute' AS t FROM generate_series(1, 5000) i) x;
            """
        );

    private static object[] Ranges(params string[] jobs) =>
        ["test", jobs, Array.ConvertAll(jobs, _ => "nightly"), Array.ConvertAll(jobs, _ => At(-3)), Array.ConvertAll(jobs, _ => At(1))];

    private static DateTime At(int minutes) => PostgresDatabase.Noon.AddMinutes(minutes).UtcDateTime;

    private static async Task<string> ExplainAsync(NpgsqlDataSource source, string sql, object[] values)
    {
        await using var command = source.CreateCommand($"EXPLAIN (ANALYZE, BUFFERS, TIMING OFF) {sql}");
        foreach (var value in values)
        {
            command.Parameters.Add(new NpgsqlParameter { Value = value });
        }
        await using var reader = await command.ExecuteReaderAsync(Stop);
        var lines = new List<string>();
        while (await reader.ReadAsync(Stop))
        {
            lines.Add(reader.GetString(0));
        }
        return string.Join('\n', lines);
    }

    [GeneratedRegex(@"shared hit=\d+", RegexOptions.ExplicitCapture, matchTimeoutMilliseconds: 1_000)]
    private static partial Regex Pages();
}
