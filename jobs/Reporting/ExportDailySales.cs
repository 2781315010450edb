using Quartz;
using Scheduler.Jobs;

namespace Payments.Jobs.Reporting;

/// <summary>Writes a report (CSV) for each day whose payments changed since its last report; a reader sees the old or the new one,
/// whole.</summary>
[SingleInstance]
public sealed class ExportDailySales(SalesExporter exporter) : IJob
{
    /// <inheritdoc/>
    public async ValueTask Execute(IJobExecutionContext context, CancellationToken cancellationToken = default)
    {
        var run = context.GetRun();
        await exporter.ExportAsync(run.LockKey, run.Token, cancellationToken);
    }
}
