namespace Scheduler.Inbox;

/// <summary>Which events to show; all that is given must hold.</summary>
/// <param name="Source">Only of this source.</param>
/// <param name="State">Only in this state.</param>
/// <param name="Limit">1 to 1,000.</param>
/// <param name="Before"><see cref="InboxPage.Next"/> of the page before.</param>
public sealed record InboxQuery(string? Source = null, InboxState? State = null, int Limit = 100, long? Before = null)
{
    /// <summary>Only of this type; "" for events without one.</summary>
    public string? Type { get; init; }

    /// <summary>Only what came at this time or later.</summary>
    public DateTimeOffset? From { get; init; }

    /// <summary>Only what came earlier.</summary>
    public DateTimeOffset? To { get; init; }
}

/// <summary>
/// A page of events, the newest first. It may have fewer events than asked for, or none, although there is a next one: a page compares at
/// most 5,000 rows. What is failed, dead, quarantined or a conflict is found at once, however rare.
/// </summary>
/// <param name="Items">The events.</param>
/// <param name="Next">What to hand in for the next page; <see langword="null"/> at the end.</param>
public sealed record InboxPage(IReadOnlyList<InboxEvent> Items, long? Next);
