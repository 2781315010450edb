using System.Text;

namespace Scheduler.Webhooks.Verification;

/// <summary>
/// Scheme <c>stripe</c>: <c>Stripe-Signature: t=…,v1=…,v1=…</c> signs <c>t.body</c>, hexadecimal. Other versions do not count. The event id
/// is in the signed body.
/// </summary>
internal sealed class StripeVerifier(SigningKeys keys, SignedTime time) : IVerifier
{
    private const string Header = "Stripe-Signature";

    public Verification Verify(in WebhookHeaders headers, ReadOnlySpan<byte> body)
    {
        if (HeaderText.Problem(headers, Header, out var text) is { } problem)
        {
            return Verification.Refused(problem);
        }
        var signatures = keys.NewSet(stackalloc byte[SignatureSet.Most * SigningKeys.MaxTextLength]);
        var timestamp = ReadOnlySpan<char>.Empty;
        var times = 0;
        foreach (var range in text.AsSpan().Split(','))
        {
            var item = text.AsSpan(range).Trim(' ');
            if (item.StartsWith("t=", StringComparison.Ordinal))
            {
                timestamp = item[2..];
                times++;
            }
            else if (item.StartsWith("v1=", StringComparison.Ordinal))
            {
                signatures.Add(item[3..]);
            }
        }
        if (times != 1 || !SignedTime.TryRead(timestamp, out var at))
        {
            return Verification.Refused($"the header {Header} has not exactly one t= with seconds since 1970");
        }
        Span<byte> prefix = stackalloc byte[SignedTime.MaxDigits + 1];
        var length = Encoding.ASCII.GetBytes(timestamp, prefix);
        prefix[length++] = (byte)'.';
        return (keys.Problem(Header, prefix[..length], body, signatures) ?? time.Problem(at)) is { } refusal
            ? Verification.Refused(refusal)
            : Verification.Accepted(signedAt: at);
    }
}
