using Npgsql;
using Scheduler.Locking;
using Scheduler.Runs;

namespace Scheduler.Postgres.State;

/// <summary>Reads rows of <c>runs</c> and <c>run_attempts</c>. Stateless and thread-safe.</summary>
internal static class RunReader
{
    /// <summary>How many columns <see cref="Columns"/> names.</summary>
    public const int ColumnCount = 18;

    private const int AttemptColumnCount = 6;

    /// <summary>The condition that the runs of <c>open_runs</c> meet.</summary>
    public const string IsOpen = "state IN ('waiting', 'running', 'interrupted', 'orphaned')";

    /// <summary>The kind of runs that stand for an occurrence.</summary>
    public const string Scheduled = "scheduled";

    private static readonly Dictionary<string, RunState> States = Enum.GetValues<RunState>().ToDictionary(NameOf, StringComparer.Ordinal);

    private static readonly Dictionary<string, RunOutcome> Outcomes = Enum.GetValues<RunOutcome>()
        .ToDictionary(NameOf, StringComparer.Ordinal);

    /// <summary>What a query selects for a run.</summary>
    /// <param name="row">What the columns belong to, with its dot.</param>
    public static string Columns(string row) =>
        string.Join(
            ", ",
            (
                (string[])
                    [
                        "id",
                        "job",
                        "trigger_name",
                        "kind",
                        "scheduled_at",
                        "lock_key",
                        "data",
                        "state",
                        "attempt",
                        "failures",
                        "crashes",
                        "token",
                        "replica",
                        "started_at",
                        "finished_at",
                        "next_attempt_at",
                        "error",
                        "outcome",
                    ]
            ).Select(column => row + column)
        );

    /// <summary>The run in a row, from a column on.</summary>
    public static RunRecord Run(NpgsqlDataReader reader, int first) =>
        new()
        {
            Id = reader.GetGuid(first).ToString("N"),
            Job = reader.GetString(first + 1),
            Trigger = reader.GetString(first + 2),
            IsScheduled = reader.GetString(first + 3) == Scheduled,
            ScheduledAt = Times.From(reader.GetDateTime(first + 4)),
            LockKey = LockKey.From(reader.GetString(first + 5)),
            Data = Text(reader, first + 6),
            State = States[reader.GetString(first + 7)],
            Attempt = reader.GetInt32(first + 8),
            Failures = reader.GetInt32(first + 9),
            Crashes = reader.GetInt32(first + 10),
            Token = new FencingToken(reader.GetInt64(first + 11)),
            Replica = Text(reader, first + 12),
            StartedAt = Time(reader, first + 13),
            FinishedAt = Time(reader, first + 14),
            NextAttemptAt = Time(reader, first + 15),
            Error = Text(reader, first + 16),
        };

    /// <summary>All runs of an answer.</summary>
    public static async Task<List<RunRecord>> RunsAsync(NpgsqlDataReader reader)
    {
        var runs = new List<RunRecord>();
        while (await reader.ReadAsync())
        {
            runs.Add(Run(reader, 0));
        }
        return runs;
    }

    /// <summary>The answer to <see cref="RunQueries.FindRequested"/>: the run and what its request said.</summary>
    public static async Task<(RunRecord Run, string? Said)?> RequestedAsync(NpgsqlDataReader reader) =>
        await reader.ReadAsync() ? (Run(reader, 0), Text(reader, ColumnCount)) : null;

    /// <summary>The answer to <see cref="RunQueries.OpenRuns"/>.</summary>
    public static async Task<RunPage> OpenRunsAsync(NpgsqlDataReader reader, OpenRunsListing listing)
    {
        var (running, queued) = (new List<RunRecord>(), new List<RunRecord>());
        var (claimable, orphaned) = (new List<(long, string)>(), new List<(long, string)>());
        while (await reader.ReadAsync())
        {
            var kind = reader.GetString(ColumnCount);
            if (!await reader.IsDBNullAsync(0))
            {
                (kind == "running" ? running : queued).Add(Run(reader, 0));
            }
            if (kind != "running")
            {
                var due = Times.From(reader.GetDateTime(ColumnCount + 1)).ToUnixTimeMilliseconds();
                (kind == "orphaned" ? orphaned : claimable).Add((due, reader.GetGuid(ColumnCount + 2).ToString("N")));
            }
        }
        return listing.Page([.. running, .. queued], claimable, orphaned);
    }

    /// <summary>A run with its attempts, from rows that repeat it for each attempt before its newest.</summary>
    public static async Task<RecordedOccurrence?> OccurrenceAsync(NpgsqlDataReader reader) =>
        await OccurrencesAsync(reader, static _ => 0) is [var (found, _)] ? found : null;

    /// <summary>The answer to <see cref="RunQueries.Occurrences"/>.</summary>
    /// <param name="reader">At its rows.</param>
    /// <param name="count">How many ranges were asked for.</param>
    public static async Task<RecordedRange[]> RangesAsync(NpgsqlDataReader reader, int count)
    {
        var found = await OccurrencesAsync(
            reader,
            static row =>
                2 * (row.GetInt64(ColumnCount + AttemptColumnCount) - 1) + (row.GetBoolean(ColumnCount + AttemptColumnCount + 1) ? 1 : 0)
        );
        var byPart = found.ToLookup(f => f.Part, f => f.Occurrence);
        return
        [
            .. Enumerable
                .Range(0, count)
                .Select(range => new RecordedRange([.. byPart[2 * range]], byPart[(2 * range) + 1].FirstOrDefault())),
        ];
    }

    private static async Task<List<(RecordedOccurrence Occurrence, long Part)>> OccurrencesAsync(
        NpgsqlDataReader reader,
        Func<NpgsqlDataReader, long> partOf
    )
    {
        var found = new List<(RecordedOccurrence, long)>();
        RunRecord? run = null;
        RunAttempt? newest = null;
        var part = 0L;
        var attempts = new List<RunAttempt>();
        while (await reader.ReadAsync())
        {
            if (run is null || part != partOf(reader) || run.Id != reader.GetGuid(0).ToString("N"))
            {
                Finish();
                run = Run(reader, 0);
                part = partOf(reader);
                newest = Newest(run, Outcome(reader, ColumnCount - 1));
                attempts = [];
            }
            if (!await reader.IsDBNullAsync(ColumnCount))
            {
                attempts.Add(Earlier(reader, run.Id));
            }
        }
        Finish();
        return found;

        void Finish()
        {
            if (run is not null)
            {
                found.Add((new RecordedOccurrence(run, newest is null ? attempts : [.. attempts, newest]), part));
            }
        }
    }

    /// <summary>The state with a name of the tables.</summary>
    public static RunState StateOf(string name) => States[name];

    /// <summary>The name of a state or outcome in the tables.</summary>
    public static string NameOf<T>(T name)
        where T : struct, Enum => name.ToString().ToLowerInvariant();

    private static RunAttempt? Newest(RunRecord run, RunOutcome? outcome) =>
        run.Attempt == 0
            ? null
            // A run that was closed after a crash is finished, its attempt never ended.
            : new RunAttempt(
                run.Id,
                run.Attempt,
                run.Token,
                run.Replica!,
                run.StartedAt!.Value,
                outcome is null ? null : run.FinishedAt,
                outcome
            );

    private static RunAttempt Earlier(NpgsqlDataReader reader, string runId) =>
        new(
            runId,
            reader.GetInt32(ColumnCount),
            new FencingToken(reader.GetInt64(ColumnCount + 1)),
            reader.GetString(ColumnCount + 2),
            Times.From(reader.GetDateTime(ColumnCount + 3)),
            Time(reader, ColumnCount + 4),
            Outcome(reader, ColumnCount + 5)
        );

    private static string? Text(NpgsqlDataReader reader, int column) => reader.IsDBNull(column) ? null : reader.GetString(column);

    private static DateTimeOffset? Time(NpgsqlDataReader reader, int column) =>
        reader.IsDBNull(column) ? null : Times.From(reader.GetDateTime(column));

    private static RunOutcome? Outcome(NpgsqlDataReader reader, int column) =>
        reader.IsDBNull(column) ? null : Outcomes[reader.GetString(column)];
}
