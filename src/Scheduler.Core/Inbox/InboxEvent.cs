namespace Scheduler.Inbox;

/// <summary>An event as the inbox keeps it. Immutable.</summary>
public sealed record InboxEvent
{
    /// <summary>The row's id.</summary>
    public required string Id { get; init; }

    /// <summary>The order of arrival: of events of which one was answered before the next was sent, the first has the smaller
    /// number.</summary>
    public required long Number { get; init; }

    /// <summary>The source's name.</summary>
    public required string Source { get; init; }

    /// <summary>Where it stands.</summary>
    public required InboxState State { get; init; }

    /// <summary>The sender's id.</summary>
    public string? EventId { get; init; }

    /// <summary>The event's type.</summary>
    public string? Type { get; init; }

    /// <summary>The dedupe key.</summary>
    public string? DedupeKey { get; init; }

    /// <summary>The order key.</summary>
    public string? OrderKey { get; init; }

    /// <summary>When it came.</summary>
    public required DateTimeOffset ReceivedAt { get; init; }

    /// <summary>How often it was taken to be processed.</summary>
    public int Attempts { get; init; }

    /// <summary>How many of these count: all but those after which the handler asked to come again later or the replica stopped.</summary>
    public int Counted { get; init; }

    /// <summary>When it is due next, by State's clock; while it is processed, when others may take it.</summary>
    public DateTimeOffset? DueAt { get; init; }

    /// <summary>The replica that took it last.</summary>
    public string? Replica { get; init; }

    /// <summary>When it was finished.</summary>
    public DateTimeOffset? FinishedAt { get; init; }

    /// <summary>The last error, or why it is quarantined.</summary>
    public string? Error { get; init; }

    /// <summary>Of a conflict the row that it contradicts.</summary>
    public string? ConflictsWith { get; init; }

    /// <summary>The size of the body in bytes.</summary>
    public int BodyBytes { get; init; }

    /// <summary>Whether the body is kept still; without it the event cannot be processed again.</summary>
    public bool HasBody { get; init; } = true;

    /// <summary>What headers that no signature covers say; only where events are shown.</summary>
    public InboxLabels? Labels { get; init; }
}

/// <summary>What became of a person's decision.</summary>
/// <param name="Event">The event as it is now; <see langword="null"/> when there is none.</param>
/// <param name="IsChanged">Whether it was in a state in which that can be decided.</param>
public readonly record struct InboxChange(InboxEvent? Event, bool IsChanged);

/// <summary>An event that this replica has taken, with its body.</summary>
/// <param name="Event">The event; <see cref="InboxEvent.Attempts"/> is the number of this attempt.</param>
/// <param name="Body">The body as it came.</param>
public sealed record InboxClaim(InboxEvent Event, byte[] Body);

/// <summary>Events that a replica has a handler for.</summary>
/// <param name="Source">The source's name.</param>
/// <param name="Type">The event's type; "" for events without one.</param>
/// <param name="GoesOn">Whether an order goes on behind a dead or conflicting event; equal for all types of a source.</param>
public readonly record struct InboxKind(string Source, string Type, bool GoesOn);

/// <summary>Which events a replica would take.</summary>
/// <param name="Replica">The replica's id.</param>
/// <param name="Kinds">Of these kinds, each once; others are left to replicas that have a handler for them.</param>
/// <param name="Limit">So many at most; 1 to <see cref="IInbox.MaxBatch"/>.</param>
/// <param name="Hold">For how long nobody else takes them.</param>
public sealed record InboxClaimRequest(string Replica, IReadOnlyList<InboxKind> Kinds, int Limit, TimeSpan Hold);

/// <summary>How an attempt at an event ended.</summary>
/// <param name="Id">The event.</param>
/// <param name="Attempt">The number of the attempt; of another one than the newest nothing is written.</param>
/// <param name="State"><see cref="InboxState.Done"/>, <see cref="InboxState.Failed"/>, <see cref="InboxState.Dead"/>,
/// <see cref="InboxState.Received"/> for one that is put back, or <see cref="InboxState.Processing"/> for one that goes on.</param>
/// <param name="After">For one that is tried again or goes on: how long after now, by State's clock, it is due.</param>
/// <param name="Error">What went wrong; at most 4,000 characters are kept.</param>
/// <param name="Counts">Whether the attempt counts; not when the handler asked to come again later, or the replica stopped.</param>
public sealed record InboxEnd(string Id, int Attempt, InboxState State, TimeSpan After = default, string? Error = null, bool Counts = true);
