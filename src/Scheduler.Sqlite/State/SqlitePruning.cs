using Dapper;
using Microsoft.Data.Sqlite;

namespace Scheduler.Sqlite.State;

/// <summary>
/// Deletes old runs, but no row of an occurrence that the reconciler may still look for: without its row it would run again.
/// Stateless and thread-safe.
/// </summary>
internal static class SqlitePruning
{
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

    private const string PruneFences = """
        DELETE FROM fences WHERE group_name = @group AND raised_at < @fencesBefore AND resource IN (
          SELECT f.resource FROM fences f WHERE f.group_name = @group AND f.raised_at < @fencesBefore
            AND NOT EXISTS (SELECT 1 FROM runs r WHERE r.group_name = @group AND r.lock_key = f.resource
              AND r.state IN ('waiting', 'running', 'interrupted', 'orphaned'))
          LIMIT @limit)
        """;

    public static int Run(SqliteConnection connection, string group, DateTimeOffset finishedBefore, int limit)
    {
        var values = new
        {
            group,
            before = Times.Of(finishedBefore),
            fencesBefore = Times.Of(finishedBefore - FencesStay),
            limit,
        };
        connection.Execute(PruneFences, values);
        SqliteJobPauses.Prune(connection, group, finishedBefore);
        return connection.Execute(PruneRuns, values);
    }
}
