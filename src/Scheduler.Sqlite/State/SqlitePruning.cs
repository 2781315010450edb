using Dapper;
using Microsoft.Data.Sqlite;

namespace Scheduler.Sqlite.State;

/// <summary>
/// Deletes old runs, but no row of an occurrence that the reconciler may still look for: without its row it would run again. Thread-safe.
/// </summary>
internal sealed class SqlitePruning(StateDatabase database, string group, TimeProvider time)
{
    private const int FencesOfStep = 1_000;

    // Idle fences may go after seven days: tokens grow with time, so a new one starts above (DESIGN: tokens grow).
    private static readonly TimeSpan FencesStay = TimeSpan.FromDays(7);

    private const string PruneRuns = $"""
        DELETE FROM runs WHERE group_name = @group AND id IN (
          SELECT r.id FROM runs r
          WHERE r.group_name = @group AND r.finished_at < @before AND NOT ({RunRow.IsOpen})
            AND (r.kind <> 'scheduled' OR r.scheduled_at <= coalesce((
              SELECT s.settled_until FROM schedules s
              WHERE s.group_name = r.group_name AND s.job = r.job AND s.trigger_name = r.trigger_name
              ORDER BY s.since DESC, s.rowid DESC LIMIT 1), r.scheduled_at))
          ORDER BY r.finished_at, r.id LIMIT @limit)
        """;

    private const string LastFence = """
        SELECT max(resource) FROM (
          SELECT resource FROM fences WHERE group_name = @group AND resource > @after ORDER BY resource LIMIT @limit)
        """;

    private const string PruneFences = $"""
        DELETE FROM fences WHERE group_name = @group AND resource > @after AND resource <= @last AND raised_at < @before
          AND resource NOT IN (SELECT lock_key FROM runs WHERE group_name = @group AND {RunRow.IsOpen})
        """;

    private readonly SqliteSteps _steps = new(database, time);

    /// <summary>Deletes at most so many runs; when none is left, skips and audit entries of that time and idle fences too.</summary>
    /// <returns>How many runs were deleted.</returns>
    public async ValueTask<int> RunAsync(DateTimeOffset finishedBefore, int limit, CancellationToken cancellationToken)
    {
        var before = Times.Of(finishedBefore);
        var deleted = await _steps.RunAsync((connection, most) => DeleteRuns(connection, before, most), limit, cancellationToken);
        if (deleted < limit)
        {
            await database.WriteAsync(c => SqliteJobPauses.Prune(c, group, finishedBefore), cancellationToken);
            await PruneAllAsync(SqliteRunSkips.Prune, before, cancellationToken);
            await PruneAllAsync(SqliteAudit.Prune, before, cancellationToken);
            await PruneFencesAsync(Times.Of(finishedBefore - FencesStay), cancellationToken);
        }
        return deleted;
    }

    private int DeleteRuns(SqliteConnection connection, long before, int limit) =>
        connection.Execute(
            PruneRuns,
            new
            {
                group,
                before,
                limit,
            }
        );

    private async ValueTask PruneAllAsync(
        Func<SqliteConnection, string, long, int, int> prune,
        long before,
        CancellationToken cancellationToken
    )
    {
        while (
            await database.WriteAsync(connection => prune(connection, group, before, SqliteSteps.LargestStep), cancellationToken)
            == SqliteSteps.LargestStep
        )
        {
            // The next ones.
        }
    }

    private async ValueTask PruneFencesAsync(long before, CancellationToken cancellationToken)
    {
        for (var after = ""; after is not null; )
        {
            var begin = after;
            after = await database.WriteAsync(connection => DeleteFences(connection, before, begin), cancellationToken);
        }
    }

    // Where to go on; nothing at the end.
    private string? DeleteFences(SqliteConnection connection, long before, string after)
    {
        var last = connection.QuerySingle<string?>(
            LastFence,
            new
            {
                group,
                after,
                limit = FencesOfStep,
            }
        );
        if (last is not null)
        {
            connection.Execute(
                PruneFences,
                new
                {
                    group,
                    after,
                    last,
                    before,
                }
            );
        }
        return last;
    }
}
