using System.Data.Common;
using Npgsql;
using Scheduler.Fencing;
using Scheduler.Inbox;
using Scheduler.Locking;

namespace Scheduler.Postgres.Fencing;

/// <summary>Effects on a PostgreSQL database of the application that a holder with an older token cannot have. Thread-safe.</summary>
public static class PostgresFence
{
    /// <summary>How often a transaction is tried that others make fail.</summary>
    public const int Tries = FenceRules.Tries;

    /// <summary>
    /// Runs work in one transaction that first raises the resource's fence to the token, then commits. What the work reads is therefore
    /// read after the fence stands: raised at the end instead, two holders would both act on the same state.
    /// </summary>
    /// <remarks>
    /// <para>The table <c>fences</c> is made when it is missing, in the schema <c>public</c> unless the options say otherwise. It costs one
    /// round trip beside those of the transaction.</para>
    /// <para>A serialization failure or a deadlock, also of the work itself or of the commit, is tried again in a new transaction, at most
    /// 5 times and within the limit. The commit waits for the disk whatever <c>synchronous_commit</c> the server has.</para>
    /// <para>Everything together takes at most <see cref="PostgresFenceOptions.Limit"/>, 10 s unless the options say otherwise, or 3 s more
    /// when the server does not answer at all. If the call throws, nothing of the work is in the database, except when the commit itself
    /// was not answered: then the outcome is unknown. Nothing outlives the transaction on the server, so it works behind a proxy that pools
    /// transactions.</para>
    /// </remarks>
    /// <param name="database">The application's data source.</param>
    /// <param name="resource">What is protected, for example <c>payouts</c>; one name for everything that must not have two
    /// writers.</param>
    /// <param name="lockKey">The key that protects it; the fence remembers it and takes tokens of no other key.</param>
    /// <param name="token">The caller's token; an equal or greater one than the fence passes.</param>
    /// <param name="work">Reads and writes on the connection and transaction that it is given; must not commit. May be run again.</param>
    /// <param name="cancellationToken">Ends the call; the transaction is rolled back.</param>
    /// <returns>What the work returned.</returns>
    /// <exception cref="StaleLeaseException">A newer token has been seen; everything is rolled back.</exception>
    /// <exception cref="InvalidOperationException">Another lock key protects the resource.</exception>
    /// <exception cref="ArgumentOutOfRangeException">The token is not positive.</exception>
    /// <exception cref="OperationCanceledException">The token was cancelled; everything is rolled back.</exception>
    /// <exception cref="DbException">The database cannot be used, or the limit has passed; the message then names it.</exception>
    public static ValueTask<T> RunAsync<T>(
        NpgsqlDataSource database,
        string resource,
        LockKey lockKey,
        FencingToken token,
        Func<DbConnection, DbTransaction, CancellationToken, ValueTask<T>> work,
        CancellationToken cancellationToken
    ) => RunAsync(database, PostgresFenceOptions.Default, resource, lockKey, token, work, cancellationToken);

    /// <summary>The same with options.</summary>
    /// <param name="database">The application's data source.</param>
    /// <param name="options">Schema, limit and isolation.</param>
    /// <param name="resource">What is protected.</param>
    /// <param name="lockKey">The key that protects it.</param>
    /// <param name="token">The caller's token.</param>
    /// <param name="work">Reads and writes on the connection and transaction that it is given; must not commit. May be run again.</param>
    /// <param name="cancellationToken">Ends the call; the transaction is rolled back.</param>
    /// <returns>What the work returned.</returns>
    /// <exception cref="StaleLeaseException">A newer token has been seen; everything is rolled back.</exception>
    /// <exception cref="InvalidOperationException">Another lock key protects the resource.</exception>
    /// <exception cref="ArgumentException">An option or the token is outside its bounds.</exception>
    /// <exception cref="OperationCanceledException">The token was cancelled; everything is rolled back.</exception>
    /// <exception cref="DbException">The database cannot be used, or the limit has passed; the message then names it.</exception>
    public static ValueTask<T> RunAsync<T>(
        NpgsqlDataSource database,
        PostgresFenceOptions options,
        string resource,
        LockKey lockKey,
        FencingToken token,
        Func<DbConnection, DbTransaction, CancellationToken, ValueTask<T>> work,
        CancellationToken cancellationToken
    )
    {
        ArgumentNullException.ThrowIfNull(database);
        PostgresFenceOptions.Check(options);
        FenceRules.CheckArguments(resource, lockKey, token);
        ArgumentNullException.ThrowIfNull(work);
        return new PostgresFencedTransaction(database, options, resource, lockKey, token, note: null).RunAsync(work, cancellationToken);
    }

    /// <summary>Forgets the fences of resources that nobody has raised for so long, for example those of orders. One pass over the table in
    /// short transactions, each of 1,000 rows.</summary>
    /// <param name="database">The application's data source.</param>
    /// <param name="options">The schema.</param>
    /// <param name="idle">7 days or more: only then is a holder's next token surely greater than those that are forgotten.</param>
    /// <param name="cancellationToken">Ends the pass between two transactions.</param>
    /// <returns>How many are forgotten.</returns>
    /// <exception cref="ArgumentOutOfRangeException">The time is shorter.</exception>
    /// <exception cref="DbException">The database cannot be used.</exception>
    public static async ValueTask<long> PruneAsync(
        NpgsqlDataSource database,
        PostgresFenceOptions options,
        TimeSpan idle,
        CancellationToken cancellationToken
    )
    {
        ArgumentNullException.ThrowIfNull(database);
        PostgresFenceOptions.Check(options);
        GuardRules.CheckFenceAge(idle);
        return await GuardPruning.FencesAsync(database, options, idle, cancellationToken);
    }
}
