using Scheduler.Runs;

namespace Scheduler.Inbox;

/// <summary>
/// A query for a page of events, taken apart alike for all inboxes: in which order it is read, and which of its filters are left to be
/// compared row by row. Immutable and thread-safe.
/// </summary>
internal sealed record InboxListing
{
    /// <summary>How many rows a page compares at most, so that no filter reads a whole inbox.</summary>
    public const int MostLookedAt = RunListing.MostLookedAt;

    /// <summary>The condition of the index of what waits for a person or fails, by state and number.</summary>
    public const string IsOfPeople = "state IN ('failed', 'dead', 'conflict', 'quarantined')";

    /// <summary>Takes a query apart.</summary>
    /// <exception cref="ArgumentException">The limit is none of this list.</exception>
    public InboxListing(InboxQuery query)
    {
        ArgumentNullException.ThrowIfNull(query);
        LedgerRules.CheckLimit(query.Limit, 1_000);
        Query = query;
        var isOfPeople = query.State is InboxState.Failed or InboxState.Dead or InboxState.Conflict or InboxState.Quarantined;
        People = isOfPeople ? InboxRules.NameOf(query.State!.Value) : null;
        State = isOfPeople || query.State is null ? null : InboxRules.NameOf(query.State.Value);
        From = query.From is { } from ? LedgerRules.WholeUp(from) : null;
        To = query.To is { } to ? LedgerRules.WholeUp(to) : null;
    }

    /// <summary>What was asked for.</summary>
    public InboxQuery Query { get; }

    /// <summary>The state whose events are read in an order of their own; <see langword="null"/>: all are read, the newest first.</summary>
    public string? People { get; }

    /// <summary>The state to compare with each row.</summary>
    public string? State { get; }

    /// <summary>The earliest time of arrival, in Unix milliseconds.</summary>
    public long? From { get; }

    /// <summary>The time of arrival that is too late, in Unix milliseconds.</summary>
    public long? To { get; }

    /// <summary>Whether rows are compared one by one.</summary>
    public bool Compares => State is not null || From is not null || To is not null || Query.Source is not null || Query.Type is not null;

    /// <summary>Only numbers below this one.</summary>
    public long Before => Query.Before ?? long.MaxValue;

    /// <summary>Makes the page.</summary>
    /// <param name="rows">What was found, one more than the limit if there is more.</param>
    /// <param name="last">The number of the last row that was compared, where there may be more behind it.</param>
    public InboxPage Page(IReadOnlyList<InboxEvent> rows, long? last) =>
        rows.Count > Query.Limit ? new InboxPage([.. rows.Take(Query.Limit)], rows[Query.Limit - 1].Number) : new InboxPage(rows, last);
}
