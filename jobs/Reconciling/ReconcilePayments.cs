using Quartz;
using Scheduler.Jobs;

namespace Payments.Jobs.Reconciling;

/// <summary>Compares what the webhook source <c>payments</c> delivered with what it changed, and lists the differences in a
/// report.</summary>
[SingleInstance]
public sealed class ReconcilePayments(PaymentReconciler reconciler) : IJob
{
    /// <inheritdoc/>
    public async ValueTask Execute(IJobExecutionContext context, CancellationToken cancellationToken = default)
    {
        var run = context.GetRun();
        await reconciler.ReconcileAsync(run.LockKey, run.Token, cancellationToken);
    }
}
