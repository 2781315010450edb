using Scheduler.Runs;

namespace Scheduler.Postgres.State;

/// <summary>The statements of the run ledger on one schema. Immutable and thread-safe.</summary>
internal sealed class RunQueries(StatePlace place)
{
    private const string OfTrigger = "r.group_name = $1 AND r.job = q.job AND r.trigger_name = q.trigger_name AND r.kind = 'scheduled'";

    // As 0001_initial.sql says at the primary key.
    private const string ById = "r.id = $2 AND r.group_name || '' = $1";

    private const string AttemptColumns = "a.attempt, a.token, a.replica, a.started_at, a.ended_at, a.outcome";

    private static readonly string Columns = RunReader.Columns("r.");

    private readonly string _runs = $"{place.Quoted}.runs";

    /// <summary>A claim of an occurrence alone: simpler for the server to plan than a group of one.</summary>
    public string ClaimOccurrence { get; } = $"SELECT {place.Quoted}.claim_occurrence($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)";

    /// <summary>A group of claims of occurrences: an array with an answer for each, or NULL when all are granted.</summary>
    public string ClaimOccurrences { get; } = $"SELECT {place.Quoted}.claim_occurrences($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)";

    /// <summary>A claim of a run's next attempt.</summary>
    public string ClaimRun { get; } = $"SELECT {place.Quoted}.claim_run($1, $2, $3, $4, $5, $6, $7, $8)";

    /// <summary>A completion alone.</summary>
    public string CompleteRun { get; } = $"SELECT {place.Quoted}.complete_run($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)";

    /// <summary>A group of completions: an array that says of each whether it is accepted, or NULL when all are.</summary>
    public string CompleteRuns { get; } = $"SELECT {place.Quoted}.complete_runs($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)";

    /// <summary>Makes the commit of the statements behind it wait for the disk.</summary>
    public string Durable { get; } = $"SELECT {place.Quoted}.durable()";

    public string InsertRequest { get; } =
        $"""
            INSERT INTO {place.Quoted}.runs (group_name, id, job, trigger_name, kind, scheduled_at, lock_key, data, state, attempt,
              request_key, request_data)
            SELECT $1, $2, $3, $4, 'manual', $5, $6, $7, 'waiting', 0, $8, $9
            WHERE (SELECT count(*) FROM (
              SELECT 1 FROM {place.Quoted}.open_runs o WHERE o.group_name || '' = $1 AND o.requested = $3
              LIMIT {IRunLedger.MostRequested}) o)
              < {IRunLedger.MostRequested}
            ON CONFLICT DO NOTHING
            """;

    /// <summary>The run of a request: by its own id, or by the key of an earlier one.</summary>
    public string FindRequested { get; } =
        $"""
            SELECT {Columns}, r.request_data FROM {place.Quoted}.runs r WHERE {ById}
            UNION ALL
            SELECT {Columns}, r.request_data FROM {place.Quoted}.runs r
            WHERE r.group_name = $1 AND r.job = $3 AND r.request_key = $4 AND r.id <> $2
            """;

    /// <summary>Opens a failed or dead run; one that waits for its time waits no longer.</summary>
    public string Reopen { get; } =
        $"""
            UPDATE {place.Quoted}.runs AS r SET state = 'waiting', next_attempt_at = NULL,
              failures = CASE WHEN r.state = 'waiting' THEN r.failures ELSE 0 END,
              crashes = CASE WHEN r.state = 'waiting' THEN r.crashes ELSE 0 END,
              finished_at = CASE WHEN r.outcome IS NULL THEN NULL ELSE r.finished_at END
            WHERE {ById} AND r.state IN ('failed', 'dead', 'waiting')
            """;

    public string Orphan { get; } =
        $"""
            UPDATE {place.Quoted}.runs AS r SET state = 'orphaned'
            WHERE {ById} AND r.token = $3 AND r.state IN ('waiting', 'running', 'interrupted') RETURNING 1
            """;

    /// <summary>A run alone.</summary>
    public string FindRun { get; } = $"SELECT {Columns} FROM {place.Quoted}.runs r WHERE {ById}";

    public string InsertWaiting { get; } =
        $"""
            INSERT INTO {place.Quoted}.runs (group_name, id, job, trigger_name, kind, scheduled_at, lock_key, data, state, attempt)
            SELECT $1, $2, $3, $4, 'scheduled', $5, $6, $7, 'waiting', 0
            WHERE NOT EXISTS (
              SELECT FROM {place.Quoted}.open_runs o CROSS JOIN LATERAL (
                SELECT FROM {place.Quoted}.runs r
                WHERE r.id = o.run_id AND r.group_name || '' = $1 AND r.job = $3 AND r.trigger_name = $4 OFFSET 0) r
              WHERE o.group_name || '' = $1 AND o.lock_key = $6 AND o.kind = 'claimable' AND o.due_at <= $8 AND o.requested IS NULL)
            ON CONFLICT (group_name, job, trigger_name, scheduled_at) WHERE kind = 'scheduled' DO NOTHING
            """;

    public string InsertOverlapped { get; } =
        $"""
            INSERT INTO {place.Quoted}.runs (group_name, id, job, trigger_name, kind, scheduled_at, lock_key, state, attempt, finished_at)
            SELECT $1, q.id, q.job, q.trigger_name, 'scheduled', q.scheduled_at, $6, 'overlapped', 0, $7
            FROM unnest($2, $3, $4, $5) AS q (id, job, trigger_name, scheduled_at)
            ON CONFLICT (group_name, job, trigger_name, scheduled_at) WHERE kind = 'scheduled' DO NOTHING
            """;

    public string Find =>
        $"""
            SELECT {Columns}, {AttemptColumns}
            FROM {_runs} r LEFT JOIN {place.Quoted}.run_attempts a ON a.group_name = $1 AND a.run_id = r.id
            WHERE {ById} ORDER BY a.attempt
            """;

    /// <summary>A look at the open runs: the running ones; parts of the others, each with whether it is the first under its key, and with
    /// its run if it is.</summary>
    public string OpenRuns =>
        $"""
            WITH looked AS (
              (SELECT o.kind, o.due_at, o.run_id, true AS is_first FROM {place.Quoted}.open_runs o
              WHERE o.group_name || '' = $1 AND o.kind = 'running' ORDER BY o.run_id LIMIT $8)
              UNION ALL {OpenQueue("claimable", "AND o.due_at <= $2", "$4, $5")}
              UNION ALL {OpenQueue("orphaned", "", "$6, $7")})
            SELECT {Columns}, o.kind, o.due_at, o.run_id
            FROM looked o LEFT JOIN LATERAL (
              SELECT * FROM {_runs} r
              WHERE o.is_first AND r.id = o.run_id AND r.group_name || '' = $1 AND r.{RunReader.IsOpen} OFFSET 0) r ON true
            ORDER BY CASE o.kind WHEN 'running' THEN r.scheduled_at ELSE o.due_at END, o.run_id
            """;

    /// <summary>
    /// The rows that tell about ranges of triggers' occurrences, each with its attempts, the number of its range, and whether it is the
    /// one before the range. Each part has an index of its own; one condition with OR would read the whole history of a trigger, and
    /// this is asked once a second. OFFSET keeps the planner from joining with whole tables.
    /// </summary>
    public string Occurrences { get; } =
        $"""
            SELECT {Columns}, {AttemptColumns}, q.n, r.is_before
            FROM unnest($2, $3, $4, $5) WITH ORDINALITY AS q (job, trigger_name, after, until, n)
            CROSS JOIN LATERAL (
              SELECT {Columns}, false AS is_before FROM {place.Quoted}.runs r
              WHERE {OfTrigger} AND r.scheduled_at > q.after AND r.scheduled_at <= q.until
              UNION ALL
              SELECT {Columns}, false
              FROM (
                SELECT DISTINCT l.run_id FROM {place.Quoted}.long_attempts l
                WHERE l.group_name = $1 AND l.job = q.job AND l.trigger_name = q.trigger_name AND l.ended_at >= q.after) l
              CROSS JOIN LATERAL (SELECT * FROM {place.Quoted}.runs r WHERE r.id = l.run_id AND r.group_name || '' = $1 OFFSET 0) r
              WHERE r.scheduled_at <= least(q.after, q.until)
              UNION ALL
              (SELECT {Columns}, true FROM {place.Quoted}.runs r
              WHERE {OfTrigger} AND r.scheduled_at <= q.after AND r.state <> 'overlapped' ORDER BY r.scheduled_at DESC LIMIT 1)
            ) r
            LEFT JOIN LATERAL (
              SELECT * FROM {place.Quoted}.run_attempts e WHERE e.group_name = $1 AND e.run_id = r.id OFFSET 0) a ON true
            ORDER BY q.n, r.is_before, r.scheduled_at, r.id, a.attempt
            """;

    /// <summary>
    /// Deletes old runs, but no row of an occurrence that the reconciler may still look for: without its row it would run again.
    /// </summary>
    public string PruneRuns { get; } =
        $"""
            WITH old AS (
              SELECT r.group_name, r.id FROM {place.Quoted}.runs r
              WHERE r.group_name = $1 AND r.scheduled_at < $2 AND r.finished_at < $2 AND NOT (r.{RunReader.IsOpen})
                AND (r.kind <> 'scheduled' OR r.scheduled_at <= coalesce((
                  SELECT s.settled_until FROM {place.Quoted}.schedules s
                  WHERE s.group_name = r.group_name AND s.job = r.job AND s.trigger_name = r.trigger_name
                  ORDER BY s.since DESC, s.seq DESC LIMIT 1), r.scheduled_at))
              ORDER BY r.scheduled_at, r.id LIMIT $3 FOR UPDATE OF r SKIP LOCKED),
            gone AS (
              DELETE FROM {place.Quoted}.runs d USING old WHERE d.group_name = old.group_name AND d.id = old.id
              RETURNING d.group_name, d.job, d.trigger_name, d.finished_at, d.id),
            attempts AS (
              DELETE FROM {place.Quoted}.long_attempts l USING gone g
              WHERE l.group_name = g.group_name AND l.job = g.job AND l.trigger_name = g.trigger_name AND l.ended_at <= g.finished_at
                AND l.run_id = g.id)
            SELECT count(*) FROM gone
            """;

    /// <summary>
    /// Takes away what stands for no open run: of runs that a body from before 0002_groups.sql ended, or that were deleted by hand.
    /// </summary>
    public string PruneOpenRuns { get; } =
        $"""
            DELETE FROM {place.Quoted}.open_runs o WHERE o.group_name = $1 AND NOT EXISTS (
              SELECT 1 FROM {place.Quoted}.runs r WHERE r.id = o.run_id AND r.group_name || '' = $1 AND r.{RunReader.IsOpen})
            """;

    /// <summary>Deletes counts of skips of a time that is over.</summary>
    public string PruneSkips { get; } = PostgresRunSkips.Prune(place);

    /// <summary>Deletes audit entries of a time that is over.</summary>
    public string PruneAudit { get; } = PostgresAudit.Prune(place);

    /// <summary>Deletes fences that nobody raised for long; a claim that raises one meanwhile is passed over.</summary>
    public string PruneFences { get; } =
        $"""
            WITH gone AS (
              DELETE FROM {place.Quoted}.fences d USING (
                SELECT f.group_name, f.resource FROM {place.Quoted}.fences f
                WHERE f.group_name = $1 AND f.raised_at < $2 AND NOT EXISTS (
                  SELECT 1 FROM {place.Quoted}.open_runs o JOIN {place.Quoted}.runs r ON r.id = o.run_id AND r.group_name = o.group_name
                  WHERE o.group_name = f.group_name AND r.lock_key = f.resource)
                LIMIT $3 FOR UPDATE OF f SKIP LOCKED) old
              WHERE d.group_name = old.group_name AND d.resource = old.resource RETURNING 1)
            SELECT count(*) FROM gone
            """;

    /// <summary>Deletes pauses that ended; one is needed until every schedule of its job is settled beyond it.</summary>
    public string PrunePauses { get; } =
        $"""
            DELETE FROM {place.Quoted}.job_pauses p WHERE p.group_name = $1 AND p.until < $2 AND NOT EXISTS (
              SELECT 1 FROM {place.Quoted}.schedules s WHERE s.group_name = $1 AND s.job = p.job AND s.settled_until < p.until
                AND NOT EXISTS (SELECT 1 FROM {place.Quoted}.schedules n WHERE n.group_name = $1 AND n.job = s.job
                  AND n.trigger_name = s.trigger_name AND (n.since, n.seq) > (s.since, s.seq)))
            """;

    private string OpenQueue(string kind, string condition, string behind) =>
        $"""
            (SELECT o.kind, o.due_at, o.run_id, NOT EXISTS (
              SELECT FROM {place.Quoted}.open_runs e WHERE e.group_name || '' = $1 AND e.lock_key = o.lock_key AND e.kind = '{kind}'
                AND (e.due_at, e.run_id) < (o.due_at, o.run_id)) AS is_first
            FROM {place.Quoted}.open_runs o
            WHERE o.group_name || '' = $1 AND o.kind = '{kind}' {condition} AND (o.due_at, o.run_id) > ({behind})
            ORDER BY o.due_at, o.run_id LIMIT $3)
            """;
}
