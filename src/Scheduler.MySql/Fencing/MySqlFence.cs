using System.Data.Common;
using System.Text;
using Scheduler.Fencing;
using Scheduler.Inbox;
using Scheduler.Locking;

namespace Scheduler.MySql.Fencing;

/// <summary>Effects on a MySQL or MariaDB database of the application that a holder with an older token cannot have. Thread-safe.</summary>
public static class MySqlFence
{
    /// <summary>
    /// Runs work in one transaction that first raises the resource's fence to the token, then commits. What the work reads is therefore
    /// read after the fence stands: raised at the end instead, two holders would both act on the same state.
    /// </summary>
    /// <remarks>
    /// <para>The table <c>fences</c> is made when it is missing, in the database of the connection and with the engine InnoDB; everything
    /// that the work writes must be in tables of that engine too. It costs one round trip beside those of the transaction.</para>
    /// <para>Whatever driver the data source is of, it must put the server's number of an error into <c>Exception.Data</c> as
    /// <c>Server Error Code</c>, and take two statements in one text; MySqlConnector and Connector/NET do.</para>
    /// <para>A deadlock and a lock that was not to be had, also of the work itself, are tried again in a new transaction, at most 5 times
    /// and within the limit. The commit is as durable as the server's <c>innodb_flush_log_at_trx_commit</c> says.</para>
    /// <para>Everything together takes at most <see cref="MySqlFenceOptions.Limit"/>, 10 s unless the options say otherwise, or 3 s more
    /// when the server does not answer at all. If the call throws, nothing of the work is in the database, except when the commit itself
    /// was not answered: then the outcome is unknown. A holder that is stopped in the middle of its transaction holds up its successor
    /// until the server ends its session (<c>wait_timeout</c>; MariaDB: <c>idle_write_transaction_timeout</c>), which also undoes
    /// it.</para>
    /// </remarks>
    /// <param name="database">The application's data source.</param>
    /// <param name="resource">What is protected, for example <c>payouts</c>; one name for everything that must not have two writers; at
    /// most 1,024 bytes of UTF-8.</param>
    /// <param name="lockKey">The key that protects it; the fence remembers it and takes tokens of no other key.</param>
    /// <param name="token">The caller's token; an equal or greater one than the fence passes.</param>
    /// <param name="work">Reads and writes on the connection and transaction that it is given; must not commit. May be run again.</param>
    /// <param name="cancellationToken">Ends the call; the transaction is rolled back.</param>
    /// <returns>What the work returned.</returns>
    /// <exception cref="StaleLeaseException">A newer token has been seen; everything is rolled back.</exception>
    /// <exception cref="InvalidOperationException">Another lock key protects the resource.</exception>
    /// <exception cref="ArgumentException">The resource's name is empty or too long, or the token is not positive.</exception>
    /// <exception cref="OperationCanceledException">The token was cancelled; everything is rolled back.</exception>
    /// <exception cref="DbException">The database cannot be used, or the limit has passed; the message then names it.</exception>
    public static ValueTask<T> RunAsync<T>(
        DbDataSource database,
        string resource,
        LockKey lockKey,
        FencingToken token,
        Func<DbConnection, DbTransaction, CancellationToken, ValueTask<T>> work,
        CancellationToken cancellationToken
    ) => RunAsync(database, MySqlFenceOptions.Default, resource, lockKey, token, work, cancellationToken);

    /// <summary>The same with options.</summary>
    /// <param name="database">The application's data source.</param>
    /// <param name="options">Limit and isolation.</param>
    /// <param name="resource">What is protected.</param>
    /// <param name="lockKey">The key that protects it.</param>
    /// <param name="token">The caller's token.</param>
    /// <param name="work">Reads and writes on the connection and transaction that it is given; must not commit. May be run again.</param>
    /// <param name="cancellationToken">Ends the call; the transaction is rolled back.</param>
    /// <returns>What the work returned.</returns>
    /// <exception cref="StaleLeaseException">A newer token has been seen; everything is rolled back.</exception>
    /// <exception cref="InvalidOperationException">Another lock key protects the resource.</exception>
    /// <exception cref="ArgumentException">An option, the resource's name or the token is outside its bounds.</exception>
    /// <exception cref="OperationCanceledException">The token was cancelled; everything is rolled back.</exception>
    /// <exception cref="DbException">The database cannot be used, or the limit has passed; the message then names it.</exception>
    public static ValueTask<T> RunAsync<T>(
        DbDataSource database,
        MySqlFenceOptions options,
        string resource,
        LockKey lockKey,
        FencingToken token,
        Func<DbConnection, DbTransaction, CancellationToken, ValueTask<T>> work,
        CancellationToken cancellationToken
    )
    {
        ArgumentNullException.ThrowIfNull(database);
        MySqlFenceOptions.Check(options);
        FenceRules.CheckArguments(resource, lockKey, token);
        ArgumentNullException.ThrowIfNull(work);
        if (Encoding.UTF8.GetByteCount(resource) is > FenceTable.MaxResourceBytes and var bytes)
        {
            throw new ArgumentException(
                $"The name of the resource '{resource[..32]}…' has {bytes} bytes of UTF-8; at most {FenceTable.MaxResourceBytes} are "
                    + "allowed. Use a shorter name, or a hash of it.",
                nameof(resource)
            );
        }
        return new Run(database, options, resource, lockKey, token).RunAsync(work, cancellationToken);
    }

    /// <summary>Forgets the fences of resources that nobody has raised for so long, for example those of orders. One pass over the table in
    /// short statements, each of 1,000 rows.</summary>
    /// <param name="database">The application's data source.</param>
    /// <param name="idle">7 days or more: only then is a holder's next token surely greater than those that are forgotten.</param>
    /// <param name="cancellationToken">Ends the pass between two statements.</param>
    /// <returns>How many are forgotten.</returns>
    /// <exception cref="ArgumentOutOfRangeException">The time is shorter.</exception>
    /// <exception cref="DbException">The database cannot be used.</exception>
    public static async ValueTask<long> PruneAsync(DbDataSource database, TimeSpan idle, CancellationToken cancellationToken)
    {
        ArgumentNullException.ThrowIfNull(database);
        GuardRules.CheckFenceAge(idle);
        await using var connection = await database.OpenConnectionAsync(cancellationToken);
        return await FenceTable.PruneAsync(connection, idle, cancellationToken);
    }

    private sealed class Run(DbDataSource database, MySqlFenceOptions options, string resource, LockKey lockKey, FencingToken token)
        : FencedTransaction(resource, lockKey, token, options.Limit, options.Isolation)
    {
        protected override string SessionList => "information_schema.innodb_trx";

        protected override ValueTask<DbConnection> OpenAsync(CancellationToken cancellationToken) =>
            database.OpenConnectionAsync(cancellationToken);

        protected override Task RaiseAsync(DbConnection connection, DbTransaction transaction, CancellationToken cancellationToken) =>
            FenceTable.RaiseAsync(connection, transaction, options.Limit, Resource, LockKey, Token, cancellationToken);

        protected override bool IsMissing(DbException problem) => FenceTable.IsMissing(problem);

        protected override Task MakeTableAsync(DbConnection connection, CancellationToken cancellationToken) =>
            FenceTable.MakeAsync(connection, cancellationToken);

        protected override bool IsCollision(DbException problem) => FenceTable.IsCollision(problem);

        protected override DbException Late(string message, Exception inner) => new MySqlFenceException(message, inner);
    }
}
