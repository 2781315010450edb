namespace Scheduler.Webhooks.Verification;

/// <summary>What the signature of a source's deliveries covers. What it does not cover never makes an event new.</summary>
[Flags]
public enum SignedParts
{
    /// <summary>Nothing: the source has no signature.</summary>
    None = 0,

    /// <summary>The body.</summary>
    Body = 1,

    /// <summary>The sender's id of the event, in a signed header or in the body.</summary>
    EventId = 2,

    /// <summary>The time of the signature, which is held against the tolerance.</summary>
    Timestamp = 4,
}
