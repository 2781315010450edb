using Microsoft.Extensions.Logging;
using Payments.Jobs.Telemetry;
using Quartz;
using Scheduler.Jobs;
using Scheduler.Runs;

namespace Payments.Jobs.Maintenance;

/// <summary>
/// Drops bodies of events of webhooks that were finished long ago or are dead for longer, deletes what is older still where no old delivery
/// can come again, and keeps the quarantine within its bound; in batches.
/// </summary>
/// <remarks>Events that are not finished stay whatever their age; but of the quarantined ones only the newest keep their body.</remarks>
[SingleInstance(KeepLog = 5)]
public sealed class PruneInbox(IState state, PruneInboxOptions options, TimeProvider time, ILogger<PruneInbox> logger) : IJob
{
    private const int BatchSize = 1_000;

    /// <inheritdoc/>
    public async ValueTask Execute(IJobExecutionContext context, CancellationToken cancellationToken = default) =>
        await PruneAsync(cancellationToken);

    internal async ValueTask PruneAsync(CancellationToken cancellationToken)
    {
        var now = time.GetUtcNow();
        var bodiesBefore = now - options.KeepBodies;
        DateTimeOffset? keysBefore = options.KeepKeys == TimeSpan.Zero ? null : now - options.KeepKeys;
        var quarantined = 0L;
        foreach (var source in options.Sources)
        {
            quarantined += await AllAsync(
                () => state.Inbox.DropQuarantinedAsync(source, options.KeepQuarantined, BatchSize, cancellationToken),
                cancellationToken
            );
        }
        var bodies = await AllAsync(() => state.Inbox.DropBodiesAsync(bodiesBefore, BatchSize, cancellationToken), cancellationToken);
        var deadBefore = now - options.KeepDead;
        var dead = await AllAsync(() => state.Inbox.DropDeadBodiesAsync(deadBefore, BatchSize, cancellationToken), cancellationToken);
        var events = 0L;
        foreach (var source in keysBefore is null ? [] : options.TimedSources)
        {
            events += await AllAsync(
                () => state.Inbox.DeleteAsync(source, keysBefore!.Value, BatchSize, cancellationToken),
                cancellationToken
            );
        }
        Log.InboxPruned(logger, bodies, bodiesBefore, dead, deadBefore, quarantined, options.KeepQuarantined, events, keysBefore);
    }

    private static async ValueTask<long> AllAsync(Func<ValueTask<int>> batch, CancellationToken cancellationToken)
    {
        var total = 0L;
        int done;
        do
        {
            cancellationToken.ThrowIfCancellationRequested();
            done = await batch();
            total += done;
        } while (done == BatchSize);
        return total;
    }
}
