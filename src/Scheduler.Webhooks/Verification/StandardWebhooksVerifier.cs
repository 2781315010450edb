using System.Text;

namespace Scheduler.Webhooks.Verification;

/// <summary>
/// Scheme <c>standard-webhooks</c> (standardwebhooks.com, version 1.0.0; also Svix with its own header names): signs
/// <c>id.timestamp.body</c>. Asymmetric signatures (<c>v1a</c>) do not count.
/// </summary>
internal sealed class StandardWebhooksVerifier(SigningKeys keys, SignedTime time) : IVerifier
{
    private const int MaxIdLength = 256;

    private const string Version = "v1,";

    private sealed record Names(string Id, string Timestamp, string Signature);

    private static readonly Names Standard = new("webhook-id", "webhook-timestamp", "webhook-signature");

    private static readonly Names Svix = new("svix-id", "svix-timestamp", "svix-signature");

    public Verification Verify(in WebhookHeaders headers, ReadOnlySpan<byte> body)
    {
        // One set of names or the other, never some of each.
        var names = headers[Standard.Signature].Count == 0 && headers[Svix.Signature].Count > 0 ? Svix : Standard;
        var problem = HeaderText.Problem(headers, names.Signature, out var signature);
        problem ??= HeaderText.Problem(headers, names.Id, out _);
        problem ??= HeaderText.Problem(headers, names.Timestamp, out _);
        return problem is null
            ? Verify(names, headers[names.Id].Value!, headers[names.Timestamp].Value!, signature, body)
            : Verification.Refused(problem);
    }

    private Verification Verify(Names names, string id, string timestamp, string signature, ReadOnlySpan<byte> body)
    {
        // A point in the id would let id, timestamp and body be divided differently under one signature.
        if (id.Length > MaxIdLength || id.Contains('.') || id.AsSpan().ContainsAnyExceptInRange('!', '~'))
        {
            return Verification.Refused($"the header {names.Id} is no id: 1 to {MaxIdLength} visible ASCII characters but '.'");
        }
        if (!SignedTime.TryRead(timestamp, out var at))
        {
            return Verification.Refused($"the header {names.Timestamp} is no number of seconds since 1970");
        }
        Span<byte> prefix = stackalloc byte[MaxIdLength + SignedTime.MaxDigits + 2];
        var length = Encoding.ASCII.GetBytes(id, prefix);
        prefix[length++] = (byte)'.';
        length += Encoding.ASCII.GetBytes(timestamp, prefix[length..]);
        prefix[length++] = (byte)'.';

        var signatures = keys.NewSet(stackalloc byte[SignatureSet.Most * SigningKeys.MaxTextLength]);
        foreach (var range in signature.AsSpan().Split(' '))
        {
            var value = signature.AsSpan(range);
            if (value.StartsWith(Version, StringComparison.Ordinal))
            {
                signatures.Add(value[Version.Length..]);
            }
        }
        return (keys.Problem(names.Signature, prefix[..length], body, signatures) ?? time.Problem(at)) is { } problem
            ? Verification.Refused(problem)
            : Verification.Accepted(id, at);
    }
}
