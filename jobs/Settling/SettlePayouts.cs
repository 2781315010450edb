using Quartz;
using Scheduler.Jobs;

namespace Payments.Jobs.Settling;

/// <summary>Puts unsettled payments into payouts, one for each merchant and currency; each payment is in exactly one payout.</summary>
/// <remarks>The effect is fenced: a run whose lease was lost is refused by the database, even if it never notices the loss.</remarks>
[SingleInstance]
public sealed class SettlePayouts(PayoutSettler settler) : IJob
{
    /// <inheritdoc/>
    public async ValueTask Execute(IJobExecutionContext context, CancellationToken cancellationToken = default)
    {
        var run = context.GetRun();
        await settler.SettleAsync(run.LockKey, run.Token, run.Id, cancellationToken);
    }
}
