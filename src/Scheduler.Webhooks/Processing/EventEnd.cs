using System.Data.Common;
using Scheduler.Inbox;
using Scheduler.Runs;

namespace Scheduler.Webhooks.Processing;

/// <summary>The end of an event that is done, for the transaction of its last effect. Thread-safe.</summary>
internal sealed class EventEnd(StateGuard state, InboxEvent stored) : IEffectEnd
{
    private volatile bool _isCommitted;

    /// <summary>Whether the event is done already.</summary>
    public bool IsCommitted => _isCommitted;

    /// <inheritdoc/>
    public ValueTask<bool> WriteAsync(DbTransaction transaction, CancellationToken cancellationToken)
    {
        var done = new InboxEnd(stored.Id, stored.Attempts, InboxState.Done);
        return state.WithinAsync(s => s.Inbox.FinishWithinAsync(transaction, done, cancellationToken));
    }

    /// <inheritdoc/>
    public void Committed() => _isCommitted = true;
}
