using Dapper;
using Payments.Jobs.Storage;

namespace Payments.Jobs;

/// <summary>How far the payments are.</summary>
/// <param name="Imported">Payments in the database.</param>
/// <param name="Settled">Those that are in a payout.</param>
/// <param name="Payouts">Payouts.</param>
/// <param name="Rejected">Lines that no payment could be read from.</param>
public sealed record PaymentsFigures(long Imported, long Settled, long Payouts, long Rejected);

/// <summary>Counts what is in the payments database. Thread-safe.</summary>
public sealed class PaymentsOverview
{
    private const string Count = """
        SELECT (SELECT COUNT(*) FROM payments) AS Imported,
          (SELECT COUNT(*) FROM payments WHERE payout_id IS NOT NULL) AS Settled,
          (SELECT COUNT(*) FROM payouts) AS Payouts,
          (SELECT COUNT(*) FROM quarantine) AS Rejected
        """;

    private readonly PaymentsDatabase _database;
    private readonly string _path;

    internal PaymentsOverview(PaymentsDatabase database, string path) => (_database, _path) = (database, path);

    /// <summary>Counts.</summary>
    /// <param name="cancellationToken">Ends the call.</param>
    /// <returns>The figures, or <see langword="null"/> when no job has made the database yet; it is not made here.</returns>
    /// <exception cref="PaymentsStorageException">The database cannot be used.</exception>
    public async ValueTask<PaymentsFigures?> ReadAsync(CancellationToken cancellationToken)
    {
        if (!File.Exists(_path))
        {
            return null;
        }
        return await _database.GuardAsync(async () =>
        {
            await using var connection = await _database.OpenAsync(cancellationToken);
            return await connection.QuerySingleAsync<PaymentsFigures>(new CommandDefinition(Count, cancellationToken: cancellationToken));
        });
    }
}
