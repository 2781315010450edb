using System.Data.Common;
using Dapper;
using Microsoft.Extensions.Logging;
using Payments.Jobs.Storage;
using Payments.Jobs.Telemetry;
using Scheduler.Locking;
using Scheduler.Sqlite.Fencing;

namespace Payments.Jobs.Settling;

/// <summary>Puts the payments that are in no payout yet into payouts, one for each merchant and currency. Thread-safe.</summary>
/// <remarks>
/// Each transaction raises the fence before it reads, so a holder that lost its lock is refused, and writes all of a payout or nothing
/// of it. A payment's payout is set once; a trigger of the database refuses to change it.
/// </remarks>
public sealed class PayoutSettler
{
    /// <summary>The resource whose fence is raised.</summary>
    public const string Resource = "payouts";

    private const string UnsettledGroups = """
        SELECT merchant_id AS MerchantId, currency AS Currency, COUNT(*) AS Payments, SUM(amount_minor) AS AmountMinor
        FROM payments WHERE payout_id IS NULL
        GROUP BY merchant_id, currency ORDER BY merchant_id, currency LIMIT @Limit
        """;

    private const string InsertPayout = """
        INSERT INTO payouts (merchant_id, currency, payments, amount_minor, run_id, token, created_at)
        VALUES (@MerchantId, @Currency, @Payments, @AmountMinor, @RunId, @Token, @CreatedAt)
        RETURNING id
        """;

    private const string AssignPayments = """
        UPDATE payments SET payout_id = @Payout WHERE payout_id IS NULL AND merchant_id = @MerchantId AND currency = @Currency
        """;

    private readonly PaymentsDatabase _database;
    private readonly TimeProvider _time;
    private readonly ILogger<PayoutSettler> _logger;

    internal PayoutSettler(PaymentsDatabase database, TimeProvider time, ILogger<PayoutSettler> logger)
    {
        _database = database;
        _time = time;
        _logger = logger;
    }

    /// <summary>How many payouts one transaction makes at most; the write lock is not held longer than that takes.</summary>
    internal int PayoutsPerTransaction { get; init; } = 100;

    /// <summary>Settles everything that is unsettled.</summary>
    /// <param name="lockKey">The key that the caller holds.</param>
    /// <param name="token">The fencing token of its grant.</param>
    /// <param name="runId">The run, noted on each payout.</param>
    /// <param name="cancellationToken">Honoured between transactions; what is committed stays.</param>
    /// <exception cref="StaleLeaseException">A newer holder has settled or settles; nothing was written under this token since.</exception>
    /// <exception cref="PaymentsStorageException">The database cannot be used.</exception>
    public async ValueTask<SettlementSummary> SettleAsync(
        LockKey lockKey,
        FencingToken token,
        string runId,
        CancellationToken cancellationToken
    )
    {
        var totals = new SortedDictionary<string, long>(StringComparer.Ordinal);
        var (payouts, payments) = (0L, 0L);
        IReadOnlyList<Group> groups;
        do
        {
            cancellationToken.ThrowIfCancellationRequested();
            groups = await _database.GuardAsync(async () =>
                await SqliteFence.RunAsync(
                    await _database.SourceAsync(cancellationToken),
                    Resource,
                    lockKey,
                    token,
                    (connection, transaction, cancel) => SettleGroupsAsync(connection, transaction, token, runId, cancel),
                    cancellationToken
                )
            );
            foreach (var group in groups)
            {
                payouts++;
                payments += group.Payments;
                totals[group.Currency] = checked(totals.GetValueOrDefault(group.Currency) + group.AmountMinor);
            }
        } while (groups.Count == PayoutsPerTransaction);

        var summary = new SettlementSummary(payouts, payments, totals);
        var shown = totals.Count == 0 ? "nothing" : string.Join(", ", totals.Select(t => $"{t.Key} {t.Value}"));
        Log.Settled(_logger, payments, payouts, shown, token.Value);
        return summary;
    }

    private async ValueTask<IReadOnlyList<Group>> SettleGroupsAsync(
        DbConnection connection,
        DbTransaction transaction,
        FencingToken token,
        string runId,
        CancellationToken cancellationToken
    )
    {
        CommandDefinition Command(string sql, object parameters) => new(sql, parameters, transaction, cancellationToken: cancellationToken);

        var groups = (await connection.QueryAsync<Group>(Command(UnsettledGroups, new { Limit = PayoutsPerTransaction }))).AsList();
        var createdAt = Instants.Text(_time.GetUtcNow());
        foreach (var group in groups)
        {
            var payout = await connection.ExecuteScalarAsync<long>(
                Command(
                    InsertPayout,
                    new
                    {
                        group.MerchantId,
                        group.Currency,
                        group.Payments,
                        group.AmountMinor,
                        RunId = runId,
                        Token = token.Value,
                        CreatedAt = createdAt,
                    }
                )
            );
            var assigned = await connection.ExecuteAsync(
                Command(
                    AssignPayments,
                    new
                    {
                        Payout = payout,
                        group.MerchantId,
                        group.Currency,
                    }
                )
            );
            if (assigned != group.Payments)
            {
                throw new InvalidOperationException(
                    $"Payout of {group.MerchantId} in {group.Currency}: {group.Payments} payments were counted and {assigned} "
                        + "assigned in one "
                        + "transaction; it was rolled back. The database does not isolate its transactions: is it on a network file system?"
                );
            }
        }
        return groups;
    }

    // Set by property, not by constructor: a result without rows does not know the types of its computed columns.
    private sealed record Group
    {
        public string MerchantId { get; init; } = "";

        public string Currency { get; init; } = "";

        public long Payments { get; init; }

        public long AmountMinor { get; init; }
    }
}
