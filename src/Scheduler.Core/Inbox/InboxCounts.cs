namespace Scheduler.Inbox;

/// <summary>How many events of a source wait for a person or to be processed. Each number has an end, so that counting costs the same
/// however many there are.</summary>
/// <param name="Source">The source.</param>
/// <param name="Waiting">Events that are not finished and wait for no person: received, processing or failed.</param>
/// <param name="Dead">Dead events.</param>
/// <param name="Conflicts">Events that contradict another one.</param>
/// <param name="Quarantined">Quarantined events.</param>
/// <param name="Due">Of what is due, by type; at most 100 types.</param>
public sealed record InboxCounts(string Source, int Waiting, int Dead, int Conflicts, int Quarantined, IReadOnlyList<InboxDue> Due)
{
    /// <summary>Where each number ends.</summary>
    public const int Most = 10_000;

    /// <summary>Where the number of due events of a type ends.</summary>
    internal const int MostDue = 1_000;

    /// <summary>How many types of due events are told apart.</summary>
    internal const int MostTypes = 100;
}

/// <summary>Events of one type that are due, so that nothing but a replica with a handler is missing.</summary>
/// <param name="Type">The type; "" for events without one.</param>
/// <param name="Count">How many; ends at 1,000.</param>
/// <param name="Oldest">For how long the first of them has been due.</param>
public sealed record InboxDue(string Type, int Count, TimeSpan Oldest);
