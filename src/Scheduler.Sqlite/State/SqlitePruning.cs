using Dapper;
using Microsoft.Data.Sqlite;

namespace Scheduler.Sqlite.State;

/// <summary>
/// Deletes old runs, but no row of an occurrence that the reconciler may still look for: without its row it would run again. There is one
/// writer at a time, so it goes in steps that are short enough not to be noticed by a claim that waits behind one. Thread-safe.
/// </summary>
internal sealed class SqlitePruning(StateDatabase database, string group, TimeProvider time)
{
    // A claim may wait for a step that has begun and go together with the next; what a commit costs comes on top.
    private static readonly TimeSpan LongestStep = TimeSpan.FromMilliseconds(3);

    // Before the log is so long that the writer would move its pages itself, while claims wait.
    private const int StepsBetweenCheckpoints = 3;

    private const int SmallestStep = 10;
    private const int FirstStep = 50;
    private const int LargestStep = 500;
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

    /// <summary>Deletes at most so many runs; when none is left, counts of skips of that time and idle fences too.</summary>
    /// <returns>How many runs were deleted.</returns>
    public async ValueTask<int> RunAsync(DateTimeOffset finishedBefore, int limit, CancellationToken cancellationToken)
    {
        var before = Times.Of(finishedBefore);
        var (deleted, step) = (0, FirstStep);
        for (var steps = 1; deleted < limit; steps++)
        {
            var most = Math.Min(step, limit - deleted);
            var (count, took) = await database.WriteAsync(connection => DeleteRuns(connection, before, most), cancellationToken);
            deleted += count;
            if (count < most)
            {
                await database.WriteAsync(c => SqliteJobPauses.Prune(c, group, finishedBefore), cancellationToken);
                await PruneSkipsAsync(before, cancellationToken);
                await PruneFencesAsync(Times.Of(finishedBefore - FencesStay), cancellationToken);
                return deleted;
            }
            step = Next(step, most, took);
            if (steps % StepsBetweenCheckpoints == 0)
            {
                await database.CheckpointAsync(cancellationToken);
            }
        }
        return deleted;
    }

    private (int Count, TimeSpan Took) DeleteRuns(SqliteConnection connection, long before, int limit)
    {
        var start = time.GetTimestamp();
        var values = new
        {
            group,
            before,
            limit,
        };
        return (connection.Execute(PruneRuns, values), time.GetElapsedTime(start));
    }

    // As many as take the longest step, by what the rows of the last one took; at most twice as many as before.
    private static int Next(int step, int rows, TimeSpan took) =>
        took <= TimeSpan.Zero ? LargestStep : (int)Math.Clamp(rows * (LongestStep / took), SmallestStep, Math.Min(LargestStep, step * 2));

    private async ValueTask PruneSkipsAsync(long before, CancellationToken cancellationToken)
    {
        while (
            await database.WriteAsync(connection => SqliteRunSkips.Prune(connection, group, before, LargestStep), cancellationToken)
            == LargestStep
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
