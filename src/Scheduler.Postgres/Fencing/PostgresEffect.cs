using System.Data.Common;
using Npgsql;
using Scheduler.Inbox;
using Scheduler.Locking;
using Scheduler.Postgres.State;

namespace Scheduler.Postgres.Fencing;

/// <summary>Effects of webhook events, each once, noted in a PostgreSQL database of the application. Thread-safe.</summary>
public static class PostgresEffect
{
    /// <summary>
    /// Applies an effect in one transaction that first raises the fence of the lock key to the token, then notes the effect, then runs the
    /// work, then commits; an effect that is noted already is left alone. So of all attempts at an event, on whatever replica, one has it.
    /// </summary>
    /// <remarks>The table <c>webhook_effects</c> is made when it is missing. For the rest see <c>PostgresFence.RunAsync</c>.</remarks>
    /// <param name="database">The application's data source.</param>
    /// <param name="effect">Which effect it is, and the grant that it is done under.</param>
    /// <param name="work">Reads and writes on the connection and transaction that it is given; must not commit. May be run again.</param>
    /// <param name="cancellationToken">Ends the call; the transaction is rolled back.</param>
    /// <returns>Whether it was applied now; <see langword="false"/> when it was there.</returns>
    /// <exception cref="StaleLeaseException">A newer token has been seen; everything is rolled back.</exception>
    /// <exception cref="EventTakenUpException">The event's end was to commit with it, and another attempt has begun; everything is rolled
    /// back.</exception>
    /// <exception cref="DbException">The database cannot be used, or the limit has passed.</exception>
    public static ValueTask<bool> ApplyAsync(
        NpgsqlDataSource database,
        Effect effect,
        Func<DbConnection, DbTransaction, CancellationToken, ValueTask> work,
        CancellationToken cancellationToken
    ) => ApplyAsync(database, PostgresFenceOptions.Default, effect, work, cancellationToken);

    /// <summary>The same with options.</summary>
    /// <param name="database">The application's data source.</param>
    /// <param name="options">Schema, limit and isolation.</param>
    /// <param name="effect">Which effect it is, and the grant that it is done under.</param>
    /// <param name="work">Reads and writes on the connection and transaction that it is given; must not commit. May be run again.</param>
    /// <param name="cancellationToken">Ends the call; the transaction is rolled back.</param>
    /// <returns>Whether it was applied now; <see langword="false"/> when it was there.</returns>
    public static ValueTask<bool> ApplyAsync(
        NpgsqlDataSource database,
        PostgresFenceOptions options,
        Effect effect,
        Func<DbConnection, DbTransaction, CancellationToken, ValueTask> work,
        CancellationToken cancellationToken
    ) => new Runner(database, options).ApplyAsync(effect, work, cancellationToken);

    /// <summary>
    /// Makes a call to a service outside: notes in one fenced transaction that it is intended, calls without a transaction, then notes in
    /// another one that it is done. One that is noted as done is not made again; one that was intended is made again, with the same
    /// idempotency key, because it may not have been made.
    /// </summary>
    /// <param name="database">The application's data source, which keeps the notes.</param>
    /// <param name="effect">Which effect it is, and the grant that it is done under.</param>
    /// <param name="call">Makes the call, with a time limit of its own.</param>
    /// <param name="cancellationToken">Ends the call.</param>
    /// <returns>Whether it was made now; <see langword="false"/> when it was done.</returns>
    /// <exception cref="StaleLeaseException">A newer token has been seen. Seen after the call, it was made and is not noted as done: the
    /// newer holder makes it again.</exception>
    /// <exception cref="EventTakenUpException">The event's end was to commit with it, and another attempt has begun.</exception>
    /// <exception cref="DbException">The database cannot be used, or the limit has passed.</exception>
    public static ValueTask<bool> CallAsync(
        NpgsqlDataSource database,
        Effect effect,
        Func<EffectCall, CancellationToken, ValueTask> call,
        CancellationToken cancellationToken
    ) => CallAsync(database, PostgresFenceOptions.Default, effect, call, cancellationToken);

    /// <summary>The same with options.</summary>
    /// <param name="database">The application's data source, which keeps the notes.</param>
    /// <param name="options">Schema, limit and isolation.</param>
    /// <param name="effect">Which effect it is, and the grant that it is done under.</param>
    /// <param name="call">Makes the call, with a time limit of its own.</param>
    /// <param name="cancellationToken">Ends the call.</param>
    /// <returns>Whether it was made now; <see langword="false"/> when it was done.</returns>
    public static ValueTask<bool> CallAsync(
        NpgsqlDataSource database,
        PostgresFenceOptions options,
        Effect effect,
        Func<EffectCall, CancellationToken, ValueTask> call,
        CancellationToken cancellationToken
    ) => new Runner(database, options).CallAsync(effect, call, cancellationToken);

    /// <summary>Forgets effects that are done for so long; an event that came again after that would have them again. One pass over the
    /// table in short transactions, each of 1,000 rows.</summary>
    /// <param name="database">The application's data source.</param>
    /// <param name="options">The schema.</param>
    /// <param name="age">400 days or more.</param>
    /// <param name="cancellationToken">Ends the pass between two transactions.</param>
    /// <returns>How many are forgotten.</returns>
    /// <exception cref="ArgumentOutOfRangeException">The time is shorter.</exception>
    /// <exception cref="DbException">The database cannot be used.</exception>
    public static async ValueTask<long> PruneAsync(
        NpgsqlDataSource database,
        PostgresFenceOptions options,
        TimeSpan age,
        CancellationToken cancellationToken
    )
    {
        ArgumentNullException.ThrowIfNull(database);
        PostgresFenceOptions.Check(options);
        GuardRules.CheckEffectAge(age);
        return await GuardPruning.EffectsAsync(database, options, age, cancellationToken);
    }

    private sealed class Runner(NpgsqlDataSource database, PostgresFenceOptions options) : EffectRunner
    {
        protected override ValueTask<T> FencedAsync<T>(
            Effect effect,
            string? note,
            Func<DbConnection, DbTransaction, string?, CancellationToken, ValueTask<T>> work,
            CancellationToken cancellationToken
        )
        {
            var run = new PostgresFencedTransaction(
                database,
                options,
                effect.LockKey.Value,
                effect.LockKey,
                effect.Token,
                note is null ? null : new EffectNote(effect.Key, note)
            );
            return run.RunAsync((connection, transaction, cancel) => work(connection, transaction, run.Before, cancel), cancellationToken);
        }

        protected override async ValueTask CloseAsync(
            DbConnection connection,
            DbTransaction transaction,
            Effect effect,
            CancellationToken cancellationToken
        )
        {
            await using var batch = new NpgsqlBatch((NpgsqlConnection)connection, (NpgsqlTransaction)transaction);
            GuardTables
                .AddKey(
                    batch,
                    $"""
                    UPDATE "{options.Schema}".webhook_effects SET state = 'done', token = $4, applied_at = clock_timestamp()
                    WHERE source = $1 AND dedupe_key = $2 AND effect = $3
                    """,
                    effect.Key
                )
                .Number(effect.Token.Value);
            await batch.ExecuteNonQueryAsync(cancellationToken);
        }
    }
}
