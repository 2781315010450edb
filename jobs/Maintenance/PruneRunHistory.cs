using Microsoft.Extensions.Logging;
using Payments.Jobs.Telemetry;
using Quartz;
using Scheduler.Jobs;
using Scheduler.Runs;

namespace Payments.Jobs.Maintenance;

/// <summary>Deletes finished runs that are older than <see cref="PruneOptions.KeepRuns"/>, in batches.</summary>
/// <remarks>Runs that are open, or that the schedules still need to know what was done, stay whatever their age.</remarks>
[SingleInstance]
public sealed class PruneRunHistory(IState state, PruneOptions options, TimeProvider time, ILogger<PruneRunHistory> logger) : IJob
{
    private const int BatchSize = 1_000;

    /// <inheritdoc/>
    public async ValueTask Execute(IJobExecutionContext context, CancellationToken cancellationToken = default) =>
        await PruneAsync(cancellationToken);

    internal async ValueTask<long> PruneAsync(CancellationToken cancellationToken)
    {
        var finishedBefore = time.GetUtcNow() - options.KeepRuns;
        var total = 0L;
        int deleted;
        do
        {
            cancellationToken.ThrowIfCancellationRequested();
            deleted = await state.Runs.PruneAsync(finishedBefore, BatchSize, cancellationToken);
            total += deleted;
        } while (deleted == BatchSize);
        Log.Pruned(logger, total, finishedBefore);
        return total;
    }
}
