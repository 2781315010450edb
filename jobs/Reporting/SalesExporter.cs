using System.Data.Common;
using System.Globalization;
using System.Text;
using Dapper;
using Microsoft.Extensions.Logging;
using Payments.Jobs.Csv;
using Payments.Jobs.Storage;
using Payments.Jobs.Telemetry;
using Scheduler.Locking;
using Scheduler.Sqlite.Fencing;

namespace Payments.Jobs.Reporting;

/// <summary>Writes the daily sales reports. Thread-safe.</summary>
/// <remarks>
/// The content follows from the payments of the day alone: same payments, same bytes. A report replaces the one before by renaming, inside
/// the transaction that raised the fence; a former holder is refused before it touches the file, so it never puts back an older report.
/// </remarks>
public sealed class SalesExporter
{
    /// <summary>The resource whose fence is raised.</summary>
    public const string Resource = "sales-reports";

    private const string DaysWithCounts = """
        SELECT d.day AS Day, SUM(d.payments) AS Payments, COALESCE(r.payments, -1) AS Reported
        FROM (SELECT paid_day AS day, COUNT(*) AS payments FROM payments GROUP BY paid_day
          UNION ALL SELECT day, 0 FROM reports) d
        LEFT JOIN reports r ON r.day = d.day
        GROUP BY d.day ORDER BY d.day
        """;

    private const string SalesOfDay = """
        SELECT merchant_id AS MerchantId, currency AS Currency, COUNT(*) AS Payments, SUM(amount_minor) AS AmountMinor
        FROM payments WHERE paid_day = @Day
        GROUP BY merchant_id, currency ORDER BY merchant_id, currency
        """;

    private const string NoteReport = """
        INSERT INTO reports (day, payments, exported_at) VALUES (@Day, @Payments, @ExportedAt)
        ON CONFLICT (day) DO UPDATE SET payments = excluded.payments, exported_at = excluded.exported_at
        """;

    private readonly PaymentsDatabase _database;
    private readonly TimeProvider _time;
    private readonly ILogger<SalesExporter> _logger;
    private readonly Place _folder;

    internal SalesExporter(PaymentsDatabase database, PaymentsOptions options, TimeProvider time, ILogger<SalesExporter> logger)
    {
        _database = database;
        _time = time;
        _logger = logger;
        _folder = new Place("reports folder", options.Reports, "Payments:Reports");
    }

    /// <summary>Writes the reports that are missing or older than their day's payments.</summary>
    /// <param name="lockKey">The key that the caller holds.</param>
    /// <param name="token">The fencing token of its grant.</param>
    /// <param name="cancellationToken">Honoured between days; the reports that are written stay.</param>
    /// <returns>The days whose report was written, in order.</returns>
    /// <exception cref="StaleLeaseException">A newer holder exports; no report was touched under this token since.</exception>
    /// <exception cref="PaymentsStorageException">The folder or the database cannot be used.</exception>
    public async ValueTask<IReadOnlyList<string>> ExportAsync(LockKey lockKey, FencingToken token, CancellationToken cancellationToken)
    {
        _folder.EnsureFolder();
        var exported = new List<string>();
        foreach (var day in await OutdatedDaysAsync(cancellationToken))
        {
            cancellationToken.ThrowIfCancellationRequested();
            var sales = await _database.GuardAsync(async () =>
                await SqliteFence.RunAsync(
                    await _database.SourceAsync(cancellationToken),
                    Resource,
                    lockKey,
                    token,
                    (connection, transaction, cancel) => ExportDayAsync(connection, transaction, day, cancel),
                    cancellationToken
                )
            );
            Log.ReportExported(_logger, day, sales, PathOf(day));
            exported.Add(day);
        }
        if (exported.Count == 0)
        {
            Log.ReportsUpToDate(_logger);
        }
        return exported;
    }

    /// <summary>Where the report of a day is.</summary>
    internal string PathOf(string day) => Path.Combine(_folder.Path, $"sales-{day}.csv");

    private ValueTask<IReadOnlyList<string>> OutdatedDaysAsync(CancellationToken cancellationToken) =>
        _database.GuardAsync<IReadOnlyList<string>>(async () =>
        {
            await using var connection = await _database.OpenAsync(cancellationToken);
            var days = await connection.QueryAsync<DayCount>(new CommandDefinition(DaysWithCounts, cancellationToken: cancellationToken));
            // Payments are added, which their number tells; and one that is given back takes the number of its day's report away.
            return days.Where(d => d.Payments != d.Reported || !File.Exists(PathOf(d.Day))).Select(d => d.Day).ToList();
        });

    private async ValueTask<long> ExportDayAsync(
        DbConnection connection,
        DbTransaction transaction,
        string day,
        CancellationToken cancellationToken
    )
    {
        var rows = (
            await connection.QueryAsync<Sales>(
                new CommandDefinition(SalesOfDay, new { Day = day }, transaction, cancellationToken: cancellationToken)
            )
        ).AsList();
        await _folder.GuardAsync(() => ReportFile.ReplaceAsync(PathOf(day), Content(day, rows), cancellationToken));
        var note = new
        {
            Day = day,
            Payments = rows.Sum(r => r.Payments),
            ExportedAt = Instants.Text(_time.GetUtcNow()),
        };
        await connection.ExecuteAsync(new CommandDefinition(NoteReport, note, transaction, cancellationToken: cancellationToken));
        return note.Payments;
    }

    private static byte[] Content(string day, IEnumerable<Sales> rows)
    {
        var text = new StringBuilder(CsvFormat.Line("day", "merchant_id", "currency", "payments", "amount_minor"));
        foreach (var row in rows)
        {
            text.Append(
                CsvFormat.Line(
                    day,
                    row.MerchantId,
                    row.Currency,
                    row.Payments.ToString(CultureInfo.InvariantCulture),
                    row.AmountMinor.ToString(CultureInfo.InvariantCulture)
                )
            );
        }
        return Encoding.UTF8.GetBytes(text.ToString());
    }

    // Set by property, not by constructor: a result without rows does not know the types of its computed columns.
    private sealed record DayCount
    {
        public string Day { get; init; } = "";

        public long Payments { get; init; }

        public long Reported { get; init; }
    }

    private sealed record Sales
    {
        public string MerchantId { get; init; } = "";

        public string Currency { get; init; } = "";

        public long Payments { get; init; }

        public long AmountMinor { get; init; }
    }
}
