using System.Data.Common;
using System.Globalization;
using Npgsql;
using Scheduler.Inbox;
using Scheduler.Locking;

namespace Scheduler.Postgres.Fencing;

/// <summary>Effects on a PostgreSQL database of the application that a holder with an older token cannot have. Thread-safe.</summary>
public static class PostgresFence
{
    /// <summary>How often a transaction is tried that others make fail.</summary>
    public const int Tries = 5;

    private static readonly TimeSpan Pause = TimeSpan.FromMilliseconds(20);

    // The driver's cancellation waits for the server; of one that is frozen no more than this.
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(3);

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
    public static async ValueTask<T> RunAsync<T>(
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
        ArgumentException.ThrowIfNullOrEmpty(resource);
        ArgumentException.ThrowIfNullOrEmpty(lockKey.Value, nameof(lockKey));
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(token.Value, nameof(token));
        ArgumentNullException.ThrowIfNull(work);
        cancellationToken.ThrowIfCancellationRequested();
        var run = new Run<T>(database, options, resource, lockKey, token, work);
        var running = run.UntilDoneAsync(cancellationToken);
        try
        {
            return await running.WaitAsync(options.Limit + Patience, TimeProvider.System, CancellationToken.None);
        }
        catch (TimeoutException late) when (!running.IsCompleted)
        {
            // It is cancelled, and commits no more. Observed here: nobody waits for it.
            _ = running.ContinueWith(
                static ended => ended.Exception,
                CancellationToken.None,
                TaskContinuationOptions.OnlyOnFaulted,
                TaskScheduler.Default
            );
            cancellationToken.ThrowIfCancellationRequested();
            throw run.Late(late);
        }
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

    private sealed class Run<T>(
        NpgsqlDataSource database,
        PostgresFenceOptions options,
        string resource,
        LockKey lockKey,
        FencingToken token,
        Func<DbConnection, DbTransaction, CancellationToken, ValueTask<T>> work
    )
    {
        private volatile bool _isCommitting;
        private volatile string _database = "";

        public async Task<T> UntilDoneAsync(CancellationToken cancellationToken)
        {
            using var limit = new CancellationTokenSource(options.Limit, TimeProvider.System);
            using var either = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken, limit.Token);
            try
            {
                return await RepeatAsync(either.Token);
            }
            catch (OperationCanceledException late) when (limit.IsCancellationRequested && !cancellationToken.IsCancellationRequested)
            {
                throw Late(late);
            }
        }

        public NpgsqlException Late(Exception inner)
        {
            var end = _isCommitting
                ? "its commit was not answered, and whether it is done is unknown. Look at the server and the network between"
                : "it was rolled back. Look for sessions that hold its fence (pg_stat_activity), keep transactions short, or set a greater "
                    + "limit";
            return new NpgsqlException(
                string.Create(
                    CultureInfo.InvariantCulture,
                    $"The work on '{resource}' in the database '{_database}' was not done within {options.Limit.TotalSeconds:0.#} s: "
                ) + $"{end}; then run it again.",
                inner
            );
        }

        private async Task<T> RepeatAsync(CancellationToken cancellationToken)
        {
            var isMade = false;
            var attempt = 1;
            while (true)
            {
                try
                {
                    return await TryAsync(cancellationToken);
                }
                catch (PostgresException missing) when (!isMade && GuardTables.AreMissing(missing))
                {
                    isMade = true;
                    await using var connection = await OpenAsync(cancellationToken);
                    await GuardTables.MakeAsync(connection, options, cancellationToken);
                }
                catch (Exception problem) when (attempt < Tries && IsCollision(problem))
                {
                    // They collided at the same time; they are not to do so again.
                    await Task.Delay(Pause * attempt++ * (0.5 + Random.Shared.NextDouble()), TimeProvider.System, cancellationToken);
                }
            }
        }

        private async Task<T> TryAsync(CancellationToken cancellationToken)
        {
            await using var connection = await OpenAsync(cancellationToken);
            await using var transaction = await connection.BeginTransactionAsync(options.Isolation, cancellationToken);
            await GuardTables.RaiseAsync(connection, transaction, options, resource, lockKey, token, cancellationToken);
            var result = await work(connection, transaction, cancellationToken);
            cancellationToken.ThrowIfCancellationRequested();
            _isCommitting = true;
            // Not cancellable any more: a cancelled commit would leave the outcome unknown.
            await transaction.CommitAsync(CancellationToken.None);
            return result;
        }

        private async Task<NpgsqlConnection> OpenAsync(CancellationToken cancellationToken)
        {
            var connection = await database.OpenConnectionAsync(cancellationToken);
            (_database, _isCommitting) = (connection.Database, false);
            return connection;
        }

        // What is built on the driver puts its exceptions into others.
        private static bool IsCollision(Exception problem)
        {
            for (var cause = problem; cause is not null; cause = cause.InnerException)
            {
                if (cause is PostgresException { SqlState: "40001" or "40P01" })
                {
                    return true;
                }
            }
            return false;
        }
    }
}
