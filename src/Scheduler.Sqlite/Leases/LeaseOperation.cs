using Scheduler.Locking;

namespace Scheduler.Sqlite.Leases;

/// <summary>One command that waits in a <see cref="LeaseQueue"/>, runs in a transaction, and is answered after the commit.</summary>
internal abstract class LeaseOperation(CancellationToken cancellationToken)
{
    /// <summary>Whether nobody waits for it any more, so that it need not run.</summary>
    public bool IsAbandoned => cancellationToken.IsCancellationRequested;

    /// <summary>Runs it and keeps the result or the refusal.</summary>
    public abstract void Run(LeaseTable table);

    /// <summary>Answers with what was kept.</summary>
    public abstract void Complete();

    /// <summary>Answers with an error.</summary>
    public abstract void Fail(Exception problem);
}

/// <inheritdoc/>
internal sealed class LeaseOperation<T>(Func<LeaseTable, T> command, CancellationToken cancellationToken)
    : LeaseOperation(cancellationToken)
{
    // Whoever awaits goes on on a pool thread, not on the queue's.
    private readonly TaskCompletionSource<T> _answer = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private T _result = default!;
    private StoreUnavailableException? _refusal;

    public Task<T> Answer => _answer.Task;

    public override void Run(LeaseTable table)
    {
        try
        {
            _result = command(table);
        }
        catch (StoreUnavailableException problem)
        {
            // A refusal of this command, not a failure of the file: the others of the batch go on.
            _refusal = problem;
        }
    }

    public override void Complete()
    {
        if (_refusal is not null)
        {
            _answer.TrySetException(_refusal);
            return;
        }
        _answer.TrySetResult(_result);
    }

    public override void Fail(Exception problem) => _answer.TrySetException(problem);
}
