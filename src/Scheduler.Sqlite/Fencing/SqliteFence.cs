using System.Data.Common;
using Dapper;
using Microsoft.Data.Sqlite;
using Scheduler.Fencing;
using Scheduler.Inbox;
using Scheduler.Locking;
using Scheduler.Sqlite.Files;

namespace Scheduler.Sqlite.Fencing;

/// <summary>Effects on an SQLite database of the application that a holder with an older token cannot have. Thread-safe.</summary>
public static class SqliteFence
{
    /// <summary>SQLite's code of a statement that does not fit the tables.</summary>
    internal const int Error = 1;

    private const int Busy = 5;

    // In whole seconds, as the driver takes it: how long one attempt waits for another writer, blocking its thread.
    private const int AttemptSeconds = 1;

    // The last attempt begins before this, so that all is over after about 5 s.
    private static readonly TimeSpan LastStart = TimeSpan.FromSeconds(4);
    private static readonly TimeSpan Longest = TimeSpan.FromSeconds(5);
    private static readonly TimeSpan Pause = TimeSpan.FromMilliseconds(20);

    /// <summary>
    /// Runs work in one transaction that first raises the resource's fence to the token, then commits. What the work reads is therefore
    /// read after the fence stands: raised at the end instead, two holders would both act on the same state.
    /// </summary>
    /// <remarks>
    /// <para>The transaction is <c>BEGIN IMMEDIATE</c>, so it waits for other writers at its start and never in the middle. The table
    /// <c>fences</c> is made when it is missing.</para>
    /// <para>Calls of one process at one file have their turns one after another, first come, first served; those of several processes
    /// queue at the file with <c>.lock</c> behind its name. Where it is a State's, they queue with its writers, so neither starves; work
    /// that takes long holds them up. Who waits for its turn blocks no thread.</para>
    /// <para>A busy database is tried again until about 5 s after the call, whatever the data source's own time-outs for commands; only a
    /// <c>busy_timeout</c> of more than 1 s that it sets itself makes that longer. In between it waits for 1 s at most, and then
    /// cancellation is looked at. Where the work itself meets a busy database it is run again, in a new transaction.</para>
    /// <para>SQLite works synchronously, so the work runs on the thread of the turns, and none of the pool's waits for the disk; after
    /// it has awaited something else it goes on where that ends. If the call throws, nothing of the work is in the database, except
    /// when the commit itself failed with an error of the disk: then the outcome is unknown.</para>
    /// </remarks>
    /// <param name="database">The application's database; see <see cref="SqliteDatabase.Create"/>.</param>
    /// <param name="resource">What is protected, for example <c>payouts</c>; one name for everything that must not have two
    /// writers.</param>
    /// <param name="lockKey">The key that protects it; the fence remembers it and takes tokens of no other key.</param>
    /// <param name="token">The caller's token; an equal or greater one than the fence passes.</param>
    /// <param name="work">Reads and writes on the connection and transaction that it is given; must not commit.</param>
    /// <param name="cancellationToken">Ends the call; the transaction is rolled back.</param>
    /// <returns>What the work returned.</returns>
    /// <exception cref="StaleLeaseException">A newer token has been seen; everything is rolled back.</exception>
    /// <exception cref="InvalidOperationException">Another lock key protects the resource.</exception>
    /// <exception cref="ArgumentOutOfRangeException">The token is not positive.</exception>
    /// <exception cref="OperationCanceledException">The token was cancelled; everything is rolled back.</exception>
    /// <exception cref="DbException">The database cannot be used, or stayed busy for about 5 s; the message then names it.</exception>
    public static async ValueTask<T> RunAsync<T>(
        DbDataSource database,
        string resource,
        LockKey lockKey,
        FencingToken token,
        Func<DbConnection, DbTransaction, CancellationToken, ValueTask<T>> work,
        CancellationToken cancellationToken
    )
    {
        ArgumentNullException.ThrowIfNull(database);
        FenceRules.CheckArguments(resource, lockKey, token);
        ArgumentNullException.ThrowIfNull(work);
        var start = TimeProvider.System.GetTimestamp();
        var file = FileOf(database);
        while (true)
        {
            try
            {
                var (came, result) = await WriterTurn.TakeAsync(
                    file,
                    Longest - TimeProvider.System.GetElapsedTime(start),
                    () => TryAsync(database, resource, lockKey, token, work, cancellationToken),
                    cancellationToken
                );
                return came ? result! : throw new SqliteException("database is locked", Busy);
            }
            catch (SqliteException busy) when (busy.Fault() is SqliteFault.InUse)
            {
                cancellationToken.ThrowIfCancellationRequested();
                var waited = TimeProvider.System.GetElapsedTime(start);
                if (waited >= LastStart)
                {
                    throw StayedBusy(file, resource, waited, busy);
                }
                await Task.Delay(Pause, TimeProvider.System, cancellationToken);
            }
        }
    }

    /// <summary>Forgets the fences of resources that nobody has raised for so long, for example those of orders. One pass over the table in
    /// short transactions, each of 1,000 rows.</summary>
    /// <param name="database">The application's database.</param>
    /// <param name="idle">7 days or more: only then is a holder's next token surely greater than those that are forgotten.</param>
    /// <param name="cancellationToken">Ends the pass between two transactions.</param>
    /// <returns>How many are forgotten.</returns>
    /// <exception cref="ArgumentOutOfRangeException">The time is shorter.</exception>
    /// <exception cref="DbException">The database cannot be used, or was busy for about 1 s.</exception>
    public static async ValueTask<long> PruneAsync(DbDataSource database, TimeSpan idle, CancellationToken cancellationToken)
    {
        ArgumentNullException.ThrowIfNull(database);
        GuardRules.CheckFenceAge(idle);
        await using var connection = await database.OpenConnectionAsync(cancellationToken);
        connection.Execute(FenceTable.Create);
        return await FenceTable.PruneAsync(connection, idle, cancellationToken);
    }

    // A DbException with the driver's codes, as for everything else; it takes no inner exception.
    private static SqliteException StayedBusy(string file, string resource, TimeSpan waited, SqliteException busy) =>
        new(
            $"Another program has been writing to the database '{file}' for {waited.TotalSeconds:0.#} s, so the work on "
                + $"'{resource}' was not done. End shells and backups that write to it, keep transactions short, then run it again.",
            busy.SqliteErrorCode,
            busy.SqliteExtendedErrorCode
        );

    // The file's absolute path alone: a connection string may hold a password.
    private static string FileOf(DbDataSource database)
    {
        using var connection = database.CreateConnection();
        return Path.GetFullPath(connection.DataSource);
    }

    private static async Task<T> TryAsync<T>(
        DbDataSource database,
        string resource,
        LockKey lockKey,
        FencingToken token,
        Func<DbConnection, DbTransaction, CancellationToken, ValueTask<T>> work,
        CancellationToken cancellationToken
    )
    {
        await using var connection = await database.OpenConnectionAsync(cancellationToken);
        await using var transaction = Begin(connection);
        if (Raise(connection, transaction, resource, lockKey, token) is { } newest)
        {
            throw new StaleLeaseException(resource, lockKey, token, newest);
        }
        var result = await work(connection, transaction, cancellationToken);
        cancellationToken.ThrowIfCancellationRequested();
        // Not cancellable any more: a cancelled commit would leave the outcome unknown.
        await transaction.CommitAsync(CancellationToken.None);
        return result;
    }

    // The driver begins with BEGIN IMMEDIATE at this level. Leaving without a commit rolls back.
    private static DbTransaction Begin(DbConnection connection)
    {
        if (connection is not SqliteConnection sqlite)
        {
            return connection.BeginTransaction(System.Data.IsolationLevel.Serializable);
        }
        // The driver repeats a busy BEGIN for so long, 30 s unless told otherwise.
        var usual = sqlite.DefaultTimeout;
        sqlite.DefaultTimeout = AttemptSeconds;
        try
        {
            return sqlite.BeginTransaction(System.Data.IsolationLevel.Serializable);
        }
        finally
        {
            sqlite.DefaultTimeout = usual;
        }
    }

    private static FencingToken? Raise(DbConnection connection, DbTransaction transaction, string resource, LockKey key, FencingToken token)
    {
        try
        {
            return FenceTable.Raise(connection, transaction, "", resource, key, token);
        }
        catch (SqliteException missing)
            when (missing.SqliteErrorCode == Error && missing.Message.Contains("no such table", StringComparison.Ordinal))
        {
            connection.Execute(FenceTable.Create, transaction: transaction);
            return FenceTable.Raise(connection, transaction, "", resource, key, token);
        }
    }
}
