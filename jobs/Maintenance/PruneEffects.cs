using Quartz;
using Scheduler.Jobs;

namespace Payments.Jobs.Maintenance;

/// <summary>Keeps the tables short that guard effects on the payments.</summary>
[SingleInstance]
public sealed class PruneEffects(EffectPruner pruner) : IJob
{
    /// <inheritdoc/>
    public async ValueTask Execute(IJobExecutionContext context, CancellationToken cancellationToken = default) =>
        await pruner.PruneAsync(cancellationToken);
}
