using Npgsql;
using Scheduler.Runs;

namespace Scheduler.Postgres.State;

/// <summary>Writes of many rows, each of which may be locked, or be one that no table keeps. Stateless and thread-safe.</summary>
internal static class RowWrites
{
    /// <summary>How often a write is tried whose rows are locked: with the State's limit for a lock some two seconds, less than what a call
    /// of the inbox may take.</summary>
    public const int Tries = 4;

    // Two that waited for each other gave up at the same time, and must not meet again in step.
    private static readonly TimeSpan MostPause = TimeSpan.FromMilliseconds(100);

    /// <summary>
    /// Writes durably, and again when rows were locked: two replicas' batches that wait for each other's keys are nothing unusual, and
    /// the server's limit for a lock is shorter than the time after which it looks for a deadlock.
    /// </summary>
    /// <exception cref="StateUnavailableException">There is no answer; of this call alone where rows were still locked.</exception>
    /// <exception cref="ArgumentException">PostgreSQL cannot keep one of the values.</exception>
    public static async ValueTask<T> WriteRowsAsync<T>(
        this StateDatabase database,
        Action<NpgsqlBatch> fill,
        Func<NpgsqlDataReader, Task<T>> read,
        CancellationToken cancellationToken
    )
    {
        for (var attempt = 1; ; attempt++)
        {
            try
            {
                return await database.CallDurablyAsync(fill, read, cancellationToken);
            }
            catch (StateUnavailableException problem)
            {
                if (attempt == Tries || !StateProblem.IsContention(problem))
                {
                    throw StateProblem.OfRows(database.Place, problem);
                }
                Telemetry.Log.Retried(database.Log, database.Place.Name, StateProblem.Short(problem.InnerException!));
                await Task.Delay(MostPause * (attempt * Random.Shared.NextDouble()), TimeProvider.System, cancellationToken);
            }
        }
    }
}
