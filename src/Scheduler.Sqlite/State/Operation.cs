using Microsoft.Data.Sqlite;

namespace Scheduler.Sqlite.State;

/// <summary>One call on its way through a database thread. The thread calls the members in order; the caller waits for the task.</summary>
internal abstract class Operation
{
    private const int Waiting = 0;
    private const int Taken = 1;
    private const int Abandoned = 2;
    private int _stage;

    /// <summary>The caller waits no longer; a call that has not begun yet is then left out.</summary>
    public void Abandon()
    {
        if (Interlocked.CompareExchange(ref _stage, Abandoned, Waiting) == Waiting)
        {
            Forget();
        }
    }

    /// <summary>Begins it, unless it is abandoned.</summary>
    public bool TryTake() => Interlocked.CompareExchange(ref _stage, Taken, Waiting) == Waiting;

    /// <summary>Does the work inside the open transaction and keeps the result.</summary>
    public abstract void Run(SqliteConnection connection);

    /// <summary>Tells the caller the result: the transaction is committed.</summary>
    public abstract void Complete();

    /// <summary>Tells the caller the failure.</summary>
    public abstract void Fail(Exception problem);

    /// <summary>Lets go of what the call carries: it may stay in the queue for as long as another process is stopped.</summary>
    protected abstract void Forget();
}

/// <summary>A call with a result.</summary>
internal sealed class Operation<T>(Func<SqliteConnection, T> work) : Operation
{
    private readonly TaskCompletionSource<T> _answer = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private Func<SqliteConnection, T>? _work = work;
    private T _result = default!;

    public Task<T> Answer => _answer.Task;

    public override void Run(SqliteConnection connection) => _result = _work!(connection);

    public override void Complete() => _answer.TrySetResult(_result);

    public override void Fail(Exception problem)
    {
        _answer.TrySetException(problem);
        // Observed here, for the case that the caller has gone.
        _ = _answer.Task.Exception;
    }

    protected override void Forget() => _work = null;
}
