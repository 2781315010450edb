namespace Payments.Jobs.Settling;

/// <summary>What a settlement did.</summary>
/// <param name="Payouts">How many payouts were made.</param>
/// <param name="Payments">How many payments are in them.</param>
/// <param name="TotalsMinor">The sum for each currency, in minor units.</param>
public sealed record SettlementSummary(long Payouts, long Payments, IReadOnlyDictionary<string, long> TotalsMinor);
