using Scheduler.Webhooks.Verification;

namespace Scheduler.Webhooks.Sources;

/// <summary>What is fixed about a way of signing.</summary>
/// <param name="Name">As the configuration calls it.</param>
/// <param name="Signs">What every signature of it covers.</param>
/// <param name="TypeFrom">Where the event type is, unless the configuration says otherwise.</param>
/// <param name="EventIdFrom">Where the event id is in the body, unless the configuration says otherwise.</param>
/// <param name="IgnoreInBody">What deliveries of one event may differ in, unless the configuration says otherwise.</param>
internal sealed record Scheme(string Name, SignedParts Signs, string TypeFrom, string? EventIdFrom, IReadOnlyList<string> IgnoreInBody)
{
    public const string StandardWebhooks = "standard-webhooks";
    public const string Stripe = "stripe";
    public const string GitHub = "github";
    public const string Shopify = "shopify";
    public const string Hmac = "hmac";
    public const string None = "none";

    private const string InBody = "/type";

    public static readonly IReadOnlyList<Scheme> All =
    [
        new(StandardWebhooks, SignedParts.Body | SignedParts.EventId | SignedParts.Timestamp, InBody, null, []),
        // Stripe counts its own retries in the event, and an event that is sent again carries the id of that request.
        new(Stripe, SignedParts.Body | SignedParts.Timestamp, InBody, "/id", ["/pending_webhooks", "/request", "/api_version"]),
        new(GitHub, SignedParts.Body, "header:X-GitHub-Event", null, []),
        new(Shopify, SignedParts.Body, "header:X-Shopify-Topic", null, []),
        new(Hmac, SignedParts.Body, InBody, null, []),
        new(None, SignedParts.None, InBody, null, []),
    ];

    /// <summary>The scheme of a name, or <see langword="null"/>.</summary>
    public static Scheme? Find(string? name) => All.FirstOrDefault(s => s.Name == name);
}
