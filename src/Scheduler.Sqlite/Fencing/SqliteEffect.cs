using System.Data.Common;
using Dapper;
using Microsoft.Data.Sqlite;
using Scheduler.Inbox;
using Scheduler.Locking;

namespace Scheduler.Sqlite.Fencing;

/// <summary>Effects of webhook events, each once, noted in an SQLite database of the application. Thread-safe.</summary>
public static class SqliteEffect
{
    /// <summary>
    /// Applies an effect in one transaction that first raises the fence of the lock key to the token, then notes the effect, then runs the
    /// work, then commits; an effect that is noted already is left alone. So of all attempts at an event, on whatever replica, one has it.
    /// </summary>
    /// <remarks>The table <c>webhook_effects</c> is made when it is missing. For the rest see <see cref="SqliteFence.RunAsync"/>.</remarks>
    /// <param name="database">The application's database; see <see cref="SqliteDatabase.Create"/>.</param>
    /// <param name="effect">Which effect it is, and the grant that it is done under.</param>
    /// <param name="work">Reads and writes on the connection and transaction that it is given; must not commit.</param>
    /// <param name="cancellationToken">Ends the call; the transaction is rolled back.</param>
    /// <returns>Whether it was applied now; <see langword="false"/> when it was there.</returns>
    /// <exception cref="StaleLeaseException">A newer token has been seen; everything is rolled back.</exception>
    /// <exception cref="EventTakenUpException">The event's end was to commit with it, and another attempt has begun; everything is rolled
    /// back.</exception>
    /// <exception cref="DbException">The database cannot be used, or stayed busy for about 5 s.</exception>
    public static ValueTask<bool> ApplyAsync(
        DbDataSource database,
        Effect effect,
        Func<DbConnection, DbTransaction, CancellationToken, ValueTask> work,
        CancellationToken cancellationToken
    ) => new Runner(database).ApplyAsync(effect, work, cancellationToken);

    /// <summary>
    /// Makes a call to a service outside: notes in one fenced transaction that it is intended, calls without a transaction, then notes in
    /// another one that it is done. One that is noted as done is not made again; one that was intended is made again, with the same
    /// idempotency key, because it may not have been made.
    /// </summary>
    /// <param name="database">The application's database, which keeps the notes; see <see cref="SqliteDatabase.Create"/>.</param>
    /// <param name="effect">Which effect it is, and the grant that it is done under.</param>
    /// <param name="call">Makes the call, with a time limit of its own.</param>
    /// <param name="cancellationToken">Ends the call.</param>
    /// <returns>Whether it was made now; <see langword="false"/> when it was done.</returns>
    /// <exception cref="StaleLeaseException">A newer token has been seen. Seen after the call, it was made and is not noted as done: the
    /// newer holder makes it again.</exception>
    /// <exception cref="EventTakenUpException">The event's end was to commit with it, and another attempt has begun.</exception>
    /// <exception cref="DbException">The database cannot be used, or stayed busy for about 5 s.</exception>
    public static ValueTask<bool> CallAsync(
        DbDataSource database,
        Effect effect,
        Func<EffectCall, CancellationToken, ValueTask> call,
        CancellationToken cancellationToken
    ) => new Runner(database).CallAsync(effect, call, cancellationToken);

    /// <summary>Forgets effects that are done for so long; an event that came again after that would have them again. One pass over the
    /// table in short transactions, each of 1,000 rows.</summary>
    /// <param name="database">The application's database.</param>
    /// <param name="age">400 days or more.</param>
    /// <param name="cancellationToken">Ends the pass between two transactions.</param>
    /// <returns>How many are forgotten.</returns>
    /// <exception cref="ArgumentOutOfRangeException">The time is shorter.</exception>
    /// <exception cref="DbException">The database cannot be used, or was busy for about 1 s.</exception>
    public static async ValueTask<long> PruneAsync(DbDataSource database, TimeSpan age, CancellationToken cancellationToken)
    {
        ArgumentNullException.ThrowIfNull(database);
        GuardRules.CheckEffectAge(age);
        await using var connection = await database.OpenConnectionAsync(cancellationToken);
        connection.Execute(EffectTable.Create);
        EffectTable.AddStateIfMissing(connection, transaction: null);
        return await EffectTable.PruneAsync(connection, age, cancellationToken);
    }

    private sealed class Runner(DbDataSource database) : EffectRunner
    {
        protected override ValueTask<T> FencedAsync<T>(
            Effect effect,
            string? note,
            Func<DbConnection, DbTransaction, string?, CancellationToken, ValueTask<T>> work,
            CancellationToken cancellationToken
        ) =>
            SqliteFence.RunAsync(
                database,
                effect.LockKey.Value,
                effect.LockKey,
                effect.Token,
                (connection, transaction, cancel) =>
                {
                    var before = note is null ? null : NoteOrMake(connection, transaction, Values(effect, note));
                    return work(connection, transaction, before, cancel);
                },
                cancellationToken
            );

        protected override ValueTask CloseAsync(
            DbConnection connection,
            DbTransaction transaction,
            Effect effect,
            CancellationToken cancellationToken
        )
        {
            connection.Execute(EffectTable.Close, Values(effect, Done), transaction);
            return ValueTask.CompletedTask;
        }

        private static string? NoteOrMake(DbConnection connection, DbTransaction transaction, object values)
        {
            try
            {
                return Note(connection, transaction, values);
            }
            catch (SqliteException missing) when (missing.SqliteErrorCode == SqliteFence.Error)
            {
                // Table or column, of which most effects find both.
                connection.Execute(EffectTable.Create, transaction: transaction);
                EffectTable.AddStateIfMissing(connection, transaction);
                return Note(connection, transaction, values);
            }
        }

        private static string? Note(DbConnection connection, DbTransaction transaction, object values) =>
            connection.Execute(EffectTable.Insert, values, transaction) > 0
                ? null
                : connection.QuerySingle<string>(EffectTable.Read, values, transaction);

        private static object Values(Effect effect, string state) =>
            new
            {
                effect.Key.Source,
                effect.Key.DedupeKey,
                effect.Key.Name,
                state,
                token = effect.Token.Value,
            };
    }
}
