using Scheduler.Runs;
using Scheduler.Webhooks.Processing;

namespace Scheduler.Webhooks.Sources;

/// <summary>
/// One configured sender of webhooks: section <c>Scheduler:Webhooks:Sources:{name}</c>. Checked by
/// <see cref="WebhookSourceOptionsValidator"/> when a host starts. A pointer is a JSON Pointer (RFC 6901) such as <c>/data/object/id</c>: 1
/// to 256 characters, beginning with '/'.
/// </summary>
public sealed class WebhookSourceOptions
{
    /// <summary>How deliveries are signed: <c>standard-webhooks</c>, <c>stripe</c>, <c>github</c>, <c>shopify</c>, <c>hmac</c> or
    /// <c>none</c>. Required.</summary>
    public string? Scheme { get; set; }

    /// <summary>
    /// What signatures are made with; each counts, so that a sender can change from one to the next; never shown. Default none; with
    /// <see cref="SecretFiles"/> 1 to 10, except for <c>none</c>. For <c>standard-webhooks</c> <c>whsec_</c> and the base64 of 24 to 64
    /// bytes; else 8 to 1,024 bytes of UTF-8, taken as they are (for <c>stripe</c> including its <c>whsec_</c>).
    /// </summary>
    public List<string> Secrets { get; set; } = [];

    /// <summary>Files with one secret each, at most 4,096 bytes of UTF-8; a line break at the end does not belong to it. A relative path
    /// counts from the working directory. Read once, at the start. Default: none.</summary>
    public List<string> SecretFiles { get; set; } = [];

    /// <summary>That anybody who can reach the address may send events; only with <c>none</c>, which needs it. Default
    /// <see langword="false"/>.</summary>
    public bool AllowUnsigned { get; set; }

    /// <summary>
    /// Where the event type is; the value may be absent: a pointer, or <c>header:</c> and the name of a header, of which 1 to 200 visible
    /// ASCII characters are taken. Anybody on the way may change a header that is not signed: it then finds another handler, or none, but
    /// the same body is no new event. Default for <c>github</c> <c>header:X-GitHub-Event</c>, for <c>shopify</c>
    /// <c>header:X-Shopify-Topic</c>, else <c>/type</c>; empty: events have no type.
    /// </summary>
    public string? TypeFrom { get; set; }

    /// <summary>The pointer to the sender's id of the event in a signed body; without the value there the delivery is quarantined. Default
    /// for <c>stripe</c> <c>/id</c>, else none. Not for <c>standard-webhooks</c>, where it is a header, and <c>none</c>, where nothing is
    /// signed.</summary>
    public string? EventIdFrom { get; set; }

    /// <summary>The pointers that make the dedupe key, after the event type. Default <c>/orderId</c>; 1 to 8.</summary>
    public List<string> DedupeBy { get; set; } = ["/orderId"];

    /// <summary>The pointers that make the order key. Default <c>/orderId</c>; 1 to 8.</summary>
    public List<string> OrderBy { get; set; } = ["/orderId"];

    /// <summary>The pointers to what may differ between two deliveries of one event. Default for <c>stripe</c>
    /// <c>/pending_webhooks</c>, <c>/request</c> and <c>/api_version</c>, else none; at most 32. An empty list: nothing may.</summary>
    public List<string>? IgnoreInBody { get; set; }

    /// <summary>The largest body, in bytes. Default 1 MiB; 1 KiB to 8 MiB.</summary>
    public int MaxBodyBytes { get; set; } = 1024 * 1024;

    /// <summary>How far a signature's time may be from this host's clock, both ways. Default 5 min; 1 s to 1 h. It means nothing for
    /// <c>github</c>, <c>shopify</c> and <c>none</c>, which sign no time.</summary>
    public TimeSpan Tolerance { get; set; } = TimeSpan.FromMinutes(5);

    /// <summary>How many attempts at an event may fail; after the last one it is dead and waits for a person. Default 12; 1 to
    /// 1,000.</summary>
    public int MaxAttempts { get; set; } = 12;

    /// <summary>The time from the first failure to the next attempt; doubles with each failure, 20 % shorter or longer at random. Default
    /// 1 s; 100 ms to <see cref="RetryMaxDelay"/>.</summary>
    public TimeSpan RetryDelay { get; set; } = TimeSpan.FromSeconds(1);

    /// <summary>Where that time ends to grow. Default 5 min; at most 7 days.</summary>
    public TimeSpan RetryMaxDelay { get; set; } = TimeSpan.FromMinutes(5);

    /// <summary>What becomes of the later events of an order behind one that waits for a person: <c>hold</c> (default) or
    /// <c>continue</c>.</summary>
    public OnDead OnDead { get; set; } = OnDead.Hold;

    /// <summary>For <c>hmac</c>, required there: the header with the signature, for example <c>X-Signature</c>; a header name of at most
    /// 100 characters.</summary>
    public string? Header { get; set; }

    /// <summary>For <c>hmac</c>: <c>sha256</c> (default), <c>sha512</c>, or <c>sha1</c> for senders that know nothing newer.</summary>
    public SignatureHash? Hash { get; set; }

    /// <summary>For <c>hmac</c>: <c>hex</c> (default) or <c>base64</c>.</summary>
    public SignatureEncoding? Encoding { get; set; }

    /// <summary>For <c>hmac</c>: what stands before the signature in its header, for example <c>sha256=</c>. Default: nothing; at most 64
    /// visible ASCII characters.</summary>
    public string? Prefix { get; set; }

    /// <summary>For <c>hmac</c>: the header with the time that is signed too, in seconds since 1970. Default: none, only the body is
    /// signed.</summary>
    public string? TimestampHeader { get; set; }

    /// <summary>For <c>hmac</c> with <see cref="TimestampHeader"/>: what is signed before the body, with <c>{timestamp}</c> for that
    /// header's value, for example <c>v0:{timestamp}:</c>. Default <c>{timestamp}.</c>; at most 64 visible ASCII characters beside it,
    /// and no digit right behind it.</summary>
    public string? SignedPrefix { get; set; }

    internal RetryRule ToRetry() =>
        new()
        {
            MaxAttempts = MaxAttempts,
            Delay = RetryDelay,
            Backoff = RetryBackoff.Exponential,
            MaxDelay = RetryMaxDelay,
        };
}
