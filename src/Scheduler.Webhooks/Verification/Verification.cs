namespace Scheduler.Webhooks.Verification;

/// <summary>Whether a delivery is genuine; <paramref name="Refusal"/> says why not, and then the rest is empty.</summary>
internal readonly record struct Verification(string? Refusal, string? EventId, DateTimeOffset? SignedAt, WebhookLabels Labels)
{
    public static Verification Refused(string reason) => new(reason, null, null, default);

    public static Verification Accepted(string? eventId = null, DateTimeOffset? signedAt = null, WebhookLabels labels = default) =>
        new(null, eventId, signedAt, labels);
}

/// <summary>Decides by the headers and the bytes of the body whether a delivery is genuine. Throws nothing, whatever they are.
/// Thread-safe.</summary>
internal interface IVerifier
{
    public Verification Verify(in WebhookHeaders headers, ReadOnlySpan<byte> body);
}

/// <summary>Scheme <c>none</c>: everything is taken. Only where the configuration says <c>AllowUnsigned</c>.</summary>
internal sealed class NoVerifier : IVerifier
{
    public Verification Verify(in WebhookHeaders headers, ReadOnlySpan<byte> body) => Verification.Accepted();
}
