using System.Text;

namespace Scheduler.Webhooks.Verification;

/// <summary>Which headers a scheme of one signature header has.</summary>
/// <param name="Signature">The header with the signature.</param>
/// <param name="Prefix">What stands before it in the header.</param>
/// <param name="Id">The header that names the delivery, if any; not signed.</param>
/// <param name="Type">The header that names what happened, if any; not signed.</param>
/// <param name="Timestamp">The header with the time that is signed too, if any.</param>
/// <param name="Before">What is signed before that time.</param>
/// <param name="After">What is signed between that time and the body; begins with no digit.</param>
internal sealed record SignatureHeaders(
    string Signature,
    string Prefix = "",
    string? Id = null,
    string? Type = null,
    string? Timestamp = null,
    string Before = "",
    string After = ""
);

/// <summary>Schemes <c>github</c>, <c>shopify</c> and <c>hmac</c>: one header with one signature of the body, and for <c>hmac</c> of a time
/// in another header, if the configuration names it.</summary>
internal sealed class HeaderVerifier(SignatureHeaders names, SigningKeys keys, SignedTime time) : IVerifier
{
    /// <summary>The longest text around the time.</summary>
    public const int MaxAround = 64;

    public Verification Verify(in WebhookHeaders headers, ReadOnlySpan<byte> body)
    {
        if (HeaderText.Problem(headers, names.Signature, out var signature) is { } problem)
        {
            return Verification.Refused(problem);
        }
        if (!signature.StartsWith(names.Prefix, StringComparison.Ordinal))
        {
            return Verification.Refused($"the header {names.Signature} does not begin with '{names.Prefix}'");
        }
        DateTimeOffset? at = null;
        Span<byte> signed = stackalloc byte[MaxAround + SignedTime.MaxDigits];
        var length = 0;
        if (names.Timestamp is not null)
        {
            if (HeaderText.Problem(headers, names.Timestamp, out var timestamp) is { } timeProblem)
            {
                return Verification.Refused(timeProblem);
            }
            if (!SignedTime.TryRead(timestamp, out var read))
            {
                return Verification.Refused($"the header {names.Timestamp} is no number of seconds since 1970");
            }
            at = read;
            length = Encoding.ASCII.GetBytes(names.Before, signed);
            length += Encoding.ASCII.GetBytes(timestamp, signed[length..]);
            length += Encoding.ASCII.GetBytes(names.After, signed[length..]);
        }
        var signatures = keys.NewSet(stackalloc byte[SignatureSet.Most * SigningKeys.MaxTextLength]);
        signatures.Add(signature.AsSpan(names.Prefix.Length));
        if ((keys.Problem(names.Signature, signed[..length], body, signatures) ?? (at is { } t ? time.Problem(t) : null)) is { } refusal)
        {
            return Verification.Refused(refusal);
        }
        var labels = names is { Id: { } id, Type: { } type } ? WebhookLabels.Read(headers, id, type) : default;
        return Verification.Accepted(signedAt: at, labels: labels);
    }
}
