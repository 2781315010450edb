namespace Payments.Jobs.Importing;

/// <summary>One payment as a file brought it.</summary>
/// <param name="Id">Identifies it at the sender.</param>
/// <param name="MerchantId">Who gets the money.</param>
/// <param name="OrderId">What was paid.</param>
/// <param name="AmountMinor">The amount in the currency's minor unit, greater than 0.</param>
/// <param name="Currency">ISO 4217, three capital letters.</param>
/// <param name="PaidAt">When it was paid.</param>
internal sealed record Payment(string Id, string MerchantId, string OrderId, long AmountMinor, string Currency, DateTimeOffset PaidAt);
