using System.Data;
using System.Data.Common;
using System.Globalization;
using Scheduler.Locking;

namespace Scheduler.Fencing;

/// <summary>
/// One fenced transaction on a database over the network: the order of the steps, the repetitions and the time limit, which are the same
/// for every such database. For one call; the work may run on any thread.
/// </summary>
internal abstract class FencedTransaction(string resource, LockKey lockKey, FencingToken token, TimeSpan limit, IsolationLevel isolation)
{
    private static readonly TimeSpan Pause = TimeSpan.FromMilliseconds(20);

    // A driver's cancellation waits for the server; of one that is frozen no more than this.
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(3);

    private volatile bool _isCommitting;
    private volatile string _database = "";

    protected string Resource => resource;

    protected LockKey LockKey => lockKey;

    protected FencingToken Token => token;

    /// <summary>Where an operator sees the sessions that hold fences.</summary>
    protected abstract string SessionList { get; }

    /// <summary>Raises the fence first, runs the work, commits.</summary>
    public async ValueTask<T> RunAsync<T>(
        Func<DbConnection, DbTransaction, CancellationToken, ValueTask<T>> work,
        CancellationToken cancellationToken
    )
    {
        cancellationToken.ThrowIfCancellationRequested();
        // On a thread of the pool: there are drivers that work synchronously, and the limit holds for them too.
        var running = Task.Run(() => UntilDoneAsync(work, cancellationToken), CancellationToken.None);
        try
        {
            return await running.WaitAsync(limit + Patience, TimeProvider.System, CancellationToken.None);
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
            throw TooLate(late);
        }
    }

    protected abstract ValueTask<DbConnection> OpenAsync(CancellationToken cancellationToken);

    /// <summary>Raises the fence as the first statement of a transaction, in one round trip; an equal token passes.</summary>
    /// <exception cref="StaleLeaseException">A newer token has been seen.</exception>
    /// <exception cref="InvalidOperationException">Another lock key protects the resource.</exception>
    protected abstract Task RaiseAsync(DbConnection connection, DbTransaction transaction, CancellationToken cancellationToken);

    /// <summary>Whether a statement failed because the fences' table is missing.</summary>
    protected abstract bool IsMissing(DbException problem);

    protected abstract Task MakeTableAsync(DbConnection connection, CancellationToken cancellationToken);

    /// <summary>Whether the server rolled back because of what others did at the same time.</summary>
    protected abstract bool IsCollision(DbException problem);

    protected abstract DbException Late(string message, Exception inner);

    private async Task<T> UntilDoneAsync<T>(
        Func<DbConnection, DbTransaction, CancellationToken, ValueTask<T>> work,
        CancellationToken cancellationToken
    )
    {
        using var late = new CancellationTokenSource(limit, TimeProvider.System);
        using var either = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken, late.Token);
        try
        {
            return await RepeatAsync(work, either.Token);
        }
        catch (OperationCanceledException cause) when (late.IsCancellationRequested && !cancellationToken.IsCancellationRequested)
        {
            throw TooLate(cause);
        }
    }

    private async Task<T> RepeatAsync<T>(
        Func<DbConnection, DbTransaction, CancellationToken, ValueTask<T>> work,
        CancellationToken cancellationToken
    )
    {
        var isMade = false;
        var attempt = 1;
        while (true)
        {
            try
            {
                return await TryAsync(work, cancellationToken);
            }
            catch (DbException missing) when (!isMade && IsMissing(missing))
            {
                isMade = true;
                await using var connection = await ConnectAsync(cancellationToken);
                await MakeTableAsync(connection, cancellationToken);
            }
            catch (Exception problem) when (attempt < FenceRules.Tries && CausedByCollision(problem))
            {
                // They collided at the same time; they are not to do so again.
                await Task.Delay(Pause * attempt++ * (0.5 + Random.Shared.NextDouble()), TimeProvider.System, cancellationToken);
            }
        }
    }

    private async Task<T> TryAsync<T>(
        Func<DbConnection, DbTransaction, CancellationToken, ValueTask<T>> work,
        CancellationToken cancellationToken
    )
    {
        await using var connection = await ConnectAsync(cancellationToken);
        await using var transaction = await connection.BeginTransactionAsync(isolation, cancellationToken);
        await RaiseAsync(connection, transaction, cancellationToken);
        var result = await work(connection, transaction, cancellationToken);
        cancellationToken.ThrowIfCancellationRequested();
        _isCommitting = true;
        // Not cancellable any more: a cancelled commit would leave the outcome unknown.
        await transaction.CommitAsync(CancellationToken.None);
        return result;
    }

    private async Task<DbConnection> ConnectAsync(CancellationToken cancellationToken)
    {
        var connection = await OpenAsync(cancellationToken);
        (_database, _isCommitting) = (connection.Database, false);
        return connection;
    }

    // What is built on a driver puts its exceptions into others.
    private bool CausedByCollision(Exception problem)
    {
        for (var cause = problem; cause is not null; cause = cause.InnerException)
        {
            if (cause is DbException failure && IsCollision(failure))
            {
                return true;
            }
        }
        return false;
    }

    private DbException TooLate(Exception inner)
    {
        var end = _isCommitting
            ? "its commit was not answered, and whether it is done is unknown. Look at the server and the network between"
            : $"it was rolled back. Look for sessions that hold its fence ({SessionList}), keep transactions short, or set a greater limit";
        return Late(
            string.Create(
                CultureInfo.InvariantCulture,
                $"The work on '{resource}' in the database '{_database}' was not done within {limit.TotalSeconds:0.#} s: {end}; "
            ) + "then run it again.",
            inner
        );
    }
}
