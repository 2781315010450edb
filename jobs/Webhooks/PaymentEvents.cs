namespace Payments.Jobs.Webhooks;

/// <summary>The body of a <c>payment.succeeded</c>.</summary>
/// <param name="OrderId">What was paid.</param>
/// <param name="PaymentId">Identifies the payment at the sender.</param>
/// <param name="MerchantId">Who gets the money.</param>
/// <param name="AmountMinor">The amount in the currency's minor unit, greater than 0.</param>
/// <param name="Currency">ISO 4217, three capital letters.</param>
/// <param name="PaidAt">When it was paid.</param>
internal sealed record PaymentSucceeded(
    string OrderId,
    string PaymentId,
    string MerchantId,
    long AmountMinor,
    string Currency,
    DateTimeOffset PaidAt
)
{
    public const string Type = "payment.succeeded";

    /// <summary>Why it is no payment, or <see langword="null"/>. Without a value: it is logged.</summary>
    public string? Problem() =>
        string.IsNullOrEmpty(OrderId) || string.IsNullOrEmpty(PaymentId) || string.IsNullOrEmpty(MerchantId)
            ? "orderId, paymentId or merchantId is missing"
        : AmountMinor <= 0 ? "amountMinor is not more than 0"
        : Currency is not { Length: 3 } ? "currency is not three letters"
        : null;
}

/// <summary>The body of a <c>payment.refunded</c>.</summary>
/// <param name="OrderId">What was paid.</param>
/// <param name="PaymentId">The payment that is given back, whole.</param>
/// <param name="RefundedAt">When.</param>
internal sealed record PaymentRefunded(string OrderId, string PaymentId, DateTimeOffset RefundedAt)
{
    public const string Type = "payment.refunded";
}
