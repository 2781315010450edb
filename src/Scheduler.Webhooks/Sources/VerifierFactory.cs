using Scheduler.Webhooks.Verification;

namespace Scheduler.Webhooks.Sources;

/// <summary>Makes the verifier that a source's options ask for.</summary>
internal static class VerifierFactory
{
    /// <summary>Makes it of options without errors.</summary>
    public static IVerifier Create(WebhookSourceOptions options, TimeProvider time)
    {
        if (options.Scheme == Scheme.None)
        {
            return new NoVerifier();
        }
        var secrets = SourceSecrets.Read(options, "").Keys;
        var signedTime = new SignedTime(options.Tolerance, time);
        SigningKeys Keys(SignatureEncoding encoding, SignatureHash hash = SignatureHash.Sha256) => new(hash, encoding, secrets);
        return options.Scheme switch
        {
            Scheme.StandardWebhooks => new StandardWebhooksVerifier(Keys(SignatureEncoding.Base64), signedTime),
            Scheme.Stripe => new StripeVerifier(Keys(SignatureEncoding.Hex), signedTime),
            Scheme.GitHub => new HeaderVerifier(
                new SignatureHeaders("X-Hub-Signature-256", "sha256=", "X-GitHub-Delivery", "X-GitHub-Event"),
                Keys(SignatureEncoding.Hex),
                signedTime
            ),
            Scheme.Shopify => new HeaderVerifier(
                new SignatureHeaders("X-Shopify-Hmac-Sha256", "", "X-Shopify-Webhook-Id", "X-Shopify-Topic"),
                Keys(SignatureEncoding.Base64),
                signedTime
            ),
            _ => new HeaderVerifier(HmacHeaders(options), Keys(options.Encoding ?? default, options.Hash ?? default), signedTime),
        };
    }

    private static SignatureHeaders HmacHeaders(WebhookSourceOptions options)
    {
        var (before, after) = SignedPrefix.Split(options.SignedPrefix ?? SignedPrefix.Default);
        return new SignatureHeaders(
            options.Header!,
            options.Prefix ?? "",
            Timestamp: options.TimestampHeader,
            Before: before!,
            After: after!
        );
    }
}
