using Npgsql;
using Scheduler.Locking;
using Scheduler.Postgres.State;
using Scheduler.Runs;

namespace Scheduler.Postgres.Leases;

/// <summary>What both lock stores on PostgreSQL send and say alike. Stateless.</summary>
internal static class StoreCalls
{
    /// <summary>A call whose errors are those of a lock store.</summary>
    /// <exception cref="StoreUnavailableException">There is no answer.</exception>
    public static async ValueTask<T> CallStoreAsync<T>(
        this StateDatabase database,
        Action<NpgsqlBatch> fill,
        Func<NpgsqlDataReader, Task<T>> read,
        CancellationToken cancellationToken
    )
    {
        try
        {
            return await database.CallAsync(fill, read, cancellationToken);
        }
        catch (StateUnavailableException problem)
        {
            throw Unavailable(problem);
        }
    }

    /// <summary>Shows, confirms or notes which State a group's locks belong to.</summary>
    /// <exception cref="StoreUnavailableException">There is no answer.</exception>
    public static ValueTask<StateMark?> PairAsync(
        this StateDatabase database,
        LeaseStatements statements,
        string group,
        StateMark? mark,
        TimeSpan replaceAfter,
        CancellationToken cancellationToken
    ) =>
        database.CallStoreAsync(
            batch =>
                batch
                    .Add(statements.Pair)
                    .Text(group)
                    .Number(Micros.Of(replaceAfter))
                    .Text(mark?.Id)
                    .Text(Texts.Keepable(mark?.Label))
                    .Number(mark?.Generation),
            static async reader =>
                await reader.ReadAsync()
                    ? new StateMark(reader.GetString(0), reader.GetString(1), reader.GetInt32(2), Micros.Left(reader.GetInt64(3)))
                    : null,
            cancellationToken
        );

    /// <summary>The same problem as a lock store tells it.</summary>
    public static StoreUnavailableException Unavailable(StateUnavailableException problem) =>
        new(problem.Message, problem.InnerException, permanent: problem.IsPermanent);

    /// <summary>Refuses what is no key.</summary>
    /// <exception cref="ArgumentException">The key is not one.</exception>
    public static void CheckKey(LockKey key)
    {
        if (LockKey.Problem(key.Value) is { } problem)
        {
            throw new ArgumentException(problem, nameof(key));
        }
    }
}
