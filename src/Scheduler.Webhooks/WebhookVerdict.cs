using Scheduler.Webhooks.Content;
using Scheduler.Webhooks.Verification;

namespace Scheduler.Webhooks;

/// <summary>What a delivery is, before anything is stored: one of the three nested cases.</summary>
public abstract record WebhookVerdict
{
    private WebhookVerdict() { }

    /// <summary>The delivery is not to be kept: nobody knows who sent it, or it is no JSON by its own word.</summary>
    /// <param name="Status">The HTTP status: 401, 413 or 415.</param>
    /// <param name="Reason">What is wrong and what is expected; safe to tell anybody: no secret, no expected signature, nothing of the
    /// body.</param>
    public sealed record Refused(int Status, string Reason) : WebhookVerdict;

    /// <summary>The delivery is genuine and has its keys.</summary>
    /// <param name="Type">The event type that <c>TypeFrom</c> names; at most 200 bytes of UTF-8 without control characters;
    /// <see langword="null"/> when it names none.</param>
    /// <param name="EventId">The sender's id of the event, where the signature covers it; 1 to 256 bytes of UTF-8 without control
    /// characters.</param>
    /// <param name="DedupeKey">Type and <c>DedupeBy</c>; at most 400 ASCII characters.</param>
    /// <param name="OrderKey"><c>OrderBy</c>; 1 to 400 ASCII characters; <see cref="Keys.OrderLock"/> makes the lock key of it.</param>
    /// <param name="BodyHash">SHA-256 of the body as it came.</param>
    /// <param name="CanonicalHash">SHA-256 of its canonical form without <c>IgnoreInBody</c>. Two deliveries have equal content when either
    /// hash is equal.</param>
    /// <param name="SignedAt">When the sender signed it, where the signature covers that; within the tolerance.</param>
    /// <param name="Labels">What the headers say beside the signature; anybody on the way may have changed it.</param>
    public sealed record Event(
        string? Type,
        string? EventId,
        string DedupeKey,
        string OrderKey,
        ContentHash BodyHash,
        ContentHash CanonicalHash,
        DateTimeOffset? SignedAt,
        WebhookLabels Labels
    ) : WebhookVerdict;

    /// <summary>The delivery is genuine, but not JSON, or without a key: it is kept for a person, and answered with 2xx.</summary>
    /// <param name="Reason">What is wrong; one sentence, without anything of the body.</param>
    /// <param name="BodyHash">SHA-256 of the body as it came: the key by which a repetition is found.</param>
    /// <param name="SignedAt">As of an event.</param>
    /// <param name="Labels">As of an event.</param>
    public sealed record Quarantined(string Reason, ContentHash BodyHash, DateTimeOffset? SignedAt, WebhookLabels Labels) : WebhookVerdict;
}
