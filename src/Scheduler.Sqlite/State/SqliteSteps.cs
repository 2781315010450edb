using Microsoft.Data.Sqlite;

namespace Scheduler.Sqlite.State;

/// <summary>
/// Changes many rows. There is one writer at a time, so it goes in steps that are short enough not to be noticed by a claim that waits
/// behind one. Thread-safe.
/// </summary>
internal sealed class SqliteSteps(StateDatabase database, TimeProvider time)
{
    /// <summary>How many rows a step changes at most.</summary>
    public const int LargestStep = 500;

    // A claim may wait for a step that has begun and go together with the next; what a commit costs comes on top.
    private static readonly TimeSpan LongestStep = TimeSpan.FromMilliseconds(3);

    // Before the log is so long that the writer would move its pages itself, while claims wait.
    private const int StepsBetweenCheckpoints = 3;

    private const int SmallestStep = 10;
    private const int FirstStep = 50;

    /// <summary>Changes at most so many rows.</summary>
    /// <param name="change">Changes at most the given number of rows and says how many it were.</param>
    /// <param name="limit">How many in all.</param>
    /// <param name="cancellationToken">Ends it between two steps.</param>
    /// <returns>How many were changed; less than the limit when none is left.</returns>
    public async ValueTask<int> RunAsync(Func<SqliteConnection, int, int> change, int limit, CancellationToken cancellationToken)
    {
        var (changed, step) = (0, FirstStep);
        for (var steps = 1; changed < limit; steps++)
        {
            var most = Math.Min(step, limit - changed);
            var (count, took) = await database.WriteAsync(connection => Timed(connection, change, most), cancellationToken);
            changed += count;
            if (count < most)
            {
                return changed;
            }
            step = Next(step, most, took);
            if (steps % StepsBetweenCheckpoints == 0)
            {
                await database.CheckpointAsync(cancellationToken);
            }
        }
        return changed;
    }

    private (int Count, TimeSpan Took) Timed(SqliteConnection connection, Func<SqliteConnection, int, int> change, int most)
    {
        var start = time.GetTimestamp();
        return (change(connection, most), time.GetElapsedTime(start));
    }

    // As many as take the longest step, by what the rows of the last one took; at most twice as many as before.
    private static int Next(int step, int rows, TimeSpan took) =>
        took <= TimeSpan.Zero ? LargestStep : (int)Math.Clamp(rows * (LongestStep / took), SmallestStep, Math.Min(LargestStep, step * 2));
}
