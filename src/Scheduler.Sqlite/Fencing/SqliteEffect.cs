using System.Data.Common;
using Dapper;
using Scheduler.Inbox;
using Scheduler.Locking;

namespace Scheduler.Sqlite.Fencing;

/// <summary>Effects of webhook events on an SQLite database of the application, each applied once. Thread-safe.</summary>
public static class SqliteEffect
{
    private const string Create = """
        CREATE TABLE IF NOT EXISTS webhook_effects (
          source TEXT NOT NULL,
          dedupe_key TEXT NOT NULL,
          effect TEXT NOT NULL,
          token INTEGER NOT NULL,
          applied_at TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP,
          PRIMARY KEY (source, dedupe_key, effect)
        ) WITHOUT ROWID
        """;

    private const string Note = """
        INSERT INTO webhook_effects (source, dedupe_key, effect, token) VALUES (@Source, @DedupeKey, @Name, @token) ON CONFLICT DO NOTHING
        """;

    /// <summary>
    /// Applies an effect in one transaction that first raises the fence of the lock key to the token, then notes the effect, then runs the
    /// work, then commits; an effect that is noted already is left alone. So of all attempts at an event, on whatever replica, one has it.
    /// </summary>
    /// <remarks>The table <c>webhook_effects</c> is made when it is missing. For the rest see <see cref="SqliteFence.RunAsync"/>.</remarks>
    /// <param name="database">The application's database; see <see cref="SqliteDatabase.Create"/>.</param>
    /// <param name="effect">Which effect it is.</param>
    /// <param name="lockKey">The key that the caller holds, that of the order.</param>
    /// <param name="token">The token of its grant.</param>
    /// <param name="work">Reads and writes on the connection and transaction that it is given; must not commit.</param>
    /// <param name="cancellationToken">Ends the call; the transaction is rolled back.</param>
    /// <returns>Whether it was applied now; <see langword="false"/> when it was there.</returns>
    /// <exception cref="StaleLeaseException">A newer token has been seen; everything is rolled back.</exception>
    /// <exception cref="DbException">The database cannot be used, or stayed busy for about 5 s.</exception>
    public static ValueTask<bool> ApplyAsync(
        DbDataSource database,
        EffectKey effect,
        LockKey lockKey,
        FencingToken token,
        Func<DbConnection, DbTransaction, CancellationToken, ValueTask> work,
        CancellationToken cancellationToken
    )
    {
        ArgumentNullException.ThrowIfNull(effect);
        ArgumentNullException.ThrowIfNull(work);
        return SqliteFence.RunAsync(
            database,
            lockKey.Value,
            lockKey,
            token,
            async (connection, transaction, cancel) =>
            {
                connection.Execute(Create, transaction: transaction);
                var values = new
                {
                    effect.Source,
                    effect.DedupeKey,
                    effect.Name,
                    token = token.Value,
                };
                if (connection.Execute(Note, values, transaction) == 0)
                {
                    return false;
                }
                await work(connection, transaction, cancel);
                return true;
            },
            cancellationToken
        );
    }
}
