using Dapper;
using Scheduler.Locking;
using Scheduler.Runs;

namespace Scheduler.Sqlite.State;

/// <summary>The run ledger on SQLite. Thread-safe.</summary>
internal sealed class SqliteRunLedger(StateDatabase database, string group, TimeProvider time) : IRunLedger
{
    private readonly SqlitePruning _pruning = new(database, group, time);

    private const string InsertWaiting = $"""
        INSERT INTO runs (group_name, id, job, trigger_name, kind, scheduled_at, lock_key, data, state, attempt, created_at)
        SELECT @group, @id, @job, @trigger, 'scheduled', @at, @lockKey, @data, 'waiting', 0, @now
        WHERE NOT EXISTS (
          SELECT 1 FROM runs INDEXED BY runs_queue_of_key
          WHERE group_name = @group AND lock_key = @lockKey AND (state = 'orphaned') = 0 AND {OpenRunList.IsQueued}
            AND {OpenRunList.Due} <= @now AND job = @job AND trigger_name = @trigger AND kind = 'scheduled')
        ON CONFLICT (group_name, job, trigger_name, scheduled_at) WHERE kind = 'scheduled' DO NOTHING
        """;

    private const string InsertOverlapped = """
        INSERT INTO runs (group_name, id, job, trigger_name, kind, scheduled_at, lock_key, state, attempt, finished_at, created_at)
        VALUES (@group, @id, @job, @trigger, 'scheduled', @at, @lockKey, 'overlapped', 0, @now, @now)
        ON CONFLICT (group_name, job, trigger_name, scheduled_at) WHERE kind = 'scheduled' DO NOTHING
        """;

    private const string Orphan = """
        UPDATE runs SET state = 'orphaned' WHERE group_name = @group AND id = @runId AND token = @token
          AND state IN ('waiting', 'running', 'interrupted')
        """;

    // An attempt whose replica died has no end, and neither has the run as long as it is open.
    private const string Reopen = $"""
        UPDATE runs SET state = 'waiting', next_attempt_at = NULL,
          failures = iif({RunRow.IsOpen}, failures, 0), crashes = iif({RunRow.IsOpen}, crashes, 0),
          finished_at = iif((SELECT a.outcome FROM run_attempts a
            WHERE a.group_name = @group AND a.run_id = @runId AND a.attempt = runs.attempt) IS NULL, NULL, finished_at)
        WHERE group_name = @group AND id = @runId AND state IN ('failed', 'dead', 'waiting')
        """;

    public ValueTask<ClaimResult> ClaimAsync(ClaimRequest request, CancellationToken cancellationToken)
    {
        LedgerRules.Check(request);
        return database.WriteAsync(connection => SqliteClaim.Run(connection, group, request), cancellationToken);
    }

    public ValueTask<CompletionResult> CompleteAsync(Completion completion, CancellationToken cancellationToken)
    {
        LedgerRules.Check(completion);
        return database.WriteAsync(connection => SqliteCompletion.Run(connection, group, completion), cancellationToken);
    }

    public ValueTask<RequestResult> RequestAsync(RunRequest request, CancellationToken cancellationToken)
    {
        LedgerRules.Check(request);
        return database.WriteAsync(connection => SqliteRequest.Run(connection, group, request), cancellationToken);
    }

    public ValueTask<RequestResult?> FindRequestAsync(
        string job,
        string requestKey,
        string requestData,
        CancellationToken cancellationToken
    ) => database.ReadAsync(connection => SqliteRequest.Find(connection, group, job, requestKey, requestData), cancellationToken);

    public ValueTask<RunRecord?> ReopenAsync(string runId, CancellationToken cancellationToken) =>
        database.WriteAsync(
            connection =>
            {
                connection.Execute(Reopen, new { group, runId });
                return RunQueries.Find(connection, group, runId)?.ToRecord();
            },
            cancellationToken
        );

    public async ValueTask<bool> OrphanAsync(string runId, FencingToken token, CancellationToken cancellationToken) =>
        await database.WriteAsync(
            connection =>
                connection.Execute(
                    Orphan,
                    new
                    {
                        group,
                        runId,
                        token = token.Value,
                    }
                ),
            cancellationToken
        ) > 0;

    public ValueTask<RecordedOccurrence?> FindAsync(string runId, CancellationToken cancellationToken) =>
        database.ReadAsync(
            connection => RunQueries.Find(connection, group, runId) is { } row ? RunQueries.WithAttempts(connection, group, row) : null,
            cancellationToken
        );

    public ValueTask<RunPage> ListAsync(RunQuery query, CancellationToken cancellationToken)
    {
        var listing = new RunListing(query);
        return database.ReadAsync(connection => RunList.Read(connection, group, listing), cancellationToken);
    }

    public ValueTask<RunPage> OpenRunsAsync(OpenRunsQuery query, CancellationToken cancellationToken)
    {
        var listing = new OpenRunsListing(query);
        return database.ReadAsync(connection => OpenRunList.Read(connection, group, listing), cancellationToken);
    }

    public ValueTask<IReadOnlyList<RecordedRange>> OccurrencesAsync(
        IReadOnlyList<OccurrenceRange> ranges,
        CancellationToken cancellationToken
    )
    {
        LedgerRules.CheckBatch(ranges, IRunLedger.MaxRanges);
        return database.ReadAsync<IReadOnlyList<RecordedRange>>(
            connection => [.. ranges.Select(range => RunQueries.Range(connection, group, range))],
            cancellationToken
        );
    }

    public async ValueTask RecordWaitingAsync(
        Occurrence occurrence,
        LockKey lockKey,
        string? data,
        DateTimeOffset now,
        CancellationToken cancellationToken
    )
    {
        LedgerRules.CheckData(data);
        var values = new
        {
            group,
            id = RunQueries.NewId(now),
            job = occurrence.Job,
            trigger = occurrence.Trigger,
            at = Times.Of(occurrence.ScheduledAt),
            lockKey = lockKey.Value,
            data,
            now = Times.Of(now),
        };
        await database.WriteAsync(connection => connection.Execute(InsertWaiting, values), cancellationToken);
    }

    public async ValueTask RecordOverlappedAsync(
        IReadOnlyList<Occurrence> occurrences,
        LockKey lockKey,
        DateTimeOffset now,
        CancellationToken cancellationToken
    )
    {
        ArgumentNullException.ThrowIfNull(occurrences);
        var rows = occurrences.Select(occurrence => new
        {
            group,
            id = RunQueries.NewId(now),
            job = occurrence.Job,
            trigger = occurrence.Trigger,
            at = Times.Of(occurrence.ScheduledAt),
            lockKey = lockKey.Value,
            now = Times.Of(now),
        });
        await database.WriteAsync(connection => connection.Execute(InsertOverlapped, rows), cancellationToken);
    }

    public ValueTask<int> PruneAsync(DateTimeOffset finishedBefore, int limit, CancellationToken cancellationToken)
    {
        LedgerRules.CheckLimit(limit, 10_000);
        return _pruning.RunAsync(finishedBefore, limit, cancellationToken);
    }
}
