namespace Scheduler.Inbox;

/// <summary>A genuine delivery that is to be stored. Immutable.</summary>
public sealed record InboxArrival
{
    /// <summary>The source's name; 1 to 100 characters.</summary>
    public required string Source { get; init; }

    /// <summary>What becomes of it: <see cref="InboxState.Received"/>, <see cref="InboxState.Ignored"/> or
    /// <see cref="InboxState.Quarantined"/>.</summary>
    public InboxState State { get; init; } = InboxState.Received;

    /// <summary>The sender's id, where the signature covers it; at most 256 bytes of UTF-8.</summary>
    public string? EventId { get; init; }

    /// <summary>The event's type; at most 200 bytes of UTF-8.</summary>
    public string? Type { get; init; }

    /// <summary>The dedupe key; <see langword="null"/> only when quarantined; at most 400 characters.</summary>
    public string? DedupeKey { get; init; }

    /// <summary>The order key; <see langword="null"/> only when quarantined; at most 400 characters.</summary>
    public string? OrderKey { get; init; }

    /// <summary>SHA-256 of the body; 32 bytes.</summary>
    public required byte[] BodyHash { get; init; }

    /// <summary>SHA-256 of what counts of the content; 32 bytes; of a quarantined one that of the body.</summary>
    public required byte[] ContentHash { get; init; }

    /// <summary>Whether the body's hash is a key as well, because the signature does not cover both id and time; also when
    /// quarantined.</summary>
    public bool IsBodyUnique { get; init; }

    /// <summary>The body as it came; not changed until the answer is there.</summary>
    public required ReadOnlyMemory<byte> Body { get; init; }

    /// <summary>When it came, by the replica's wall clock.</summary>
    public required DateTimeOffset ReceivedAt { get; init; }

    /// <summary>Why it is quarantined.</summary>
    public string? Reason { get; init; }

    /// <summary>What headers that no signature covers say, if they say anything.</summary>
    public InboxLabels? Labels { get; init; }

    /// <summary>The replica that takes it as it is stored, where nothing before it keeps it back; without one it waits to be
    /// taken.</summary>
    public InboxTaking? Taking { get; init; }
}

/// <summary>A replica that has a place for an event which is only being stored. Immutable.</summary>
/// <param name="Replica">The replica's id.</param>
/// <param name="Hold">For how long nobody else takes it; more than 0.</param>
/// <param name="GoesOn">Whether the order goes on behind a dead or conflicting event.</param>
public sealed record InboxTaking(string Replica, TimeSpan Hold, bool GoesOn);

/// <summary>What headers that no signature covers say about an event; for people, and no part of what makes it new. Immutable.</summary>
/// <param name="Id">The sender's id of the delivery; at most 200 characters.</param>
/// <param name="Type">The sender's name for what happened; at most 200 characters.</param>
public sealed record InboxLabels(string? Id, string? Type);

/// <summary>What became of an arrival.</summary>
public enum InboxOutcome
{
    /// <summary>It is stored, in the state that was asked for.</summary>
    Stored = 0,

    /// <summary>It was stored before, with equal content.</summary>
    Duplicate,

    /// <summary>Another event has its event id or dedupe key and other content; this one is stored as a conflict.</summary>
    Conflict,
}

/// <summary>The answer to an arrival; only from committed rows.</summary>
/// <param name="Outcome">What became of it.</param>
/// <param name="Id">The row that it is, or is a duplicate of; of a conflict the one that it contradicts.</param>
/// <param name="State">That row's state.</param>
/// <param name="Taken">The event, where it was taken as it was stored; its first attempt has begun.</param>
public readonly record struct InboxAnswer(InboxOutcome Outcome, string Id, InboxState State, InboxEvent? Taken = null);
