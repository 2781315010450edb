using Quartz;
using Scheduler.Jobs;

namespace Payments.Jobs.Importing;

/// <summary>
/// Imports the payments files (CSV) that were dropped into the inbox folder. Finished files move to the folder of finished files; lines
/// that cannot be taken are listed in the table <c>quarantine</c> and in a file, with file, line and reason. See
/// <see cref="PaymentsOptions"/>.
/// </summary>
/// <remarks>Needs no fence: importing twice, or at the same time as a holder that lost its lease, ends in the same rows.</remarks>
[SingleInstance]
public sealed class ImportPayments(PaymentImporter importer) : IJob
{
    /// <inheritdoc/>
    public async ValueTask Execute(IJobExecutionContext context, CancellationToken cancellationToken = default) =>
        await importer.ImportAsync(cancellationToken);
}
