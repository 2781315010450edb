namespace Scheduler.Runs;

/// <summary>Why a fire did nothing.</summary>
public enum SkipReason
{
    /// <summary>Its key was held.</summary>
    Held = 0,

    /// <summary>The ledger knew its occurrence already, or would not have it run now.</summary>
    Recorded,

    /// <summary>The replica was stopping.</summary>
    Stopping,
}

/// <summary>How often a replica skipped a job in a minute.</summary>
/// <param name="Minute">The begin of the minute, by the replica's wall clock.</param>
/// <param name="Job">The job.</param>
/// <param name="Replica">The replica's id.</param>
/// <param name="Reason">Why.</param>
/// <param name="Count">How often, at least once.</param>
public sealed record SkipCount(DateTimeOffset Minute, string Job, string Replica, SkipReason Reason, int Count);

/// <summary>Which skips to show; all that is given must hold.</summary>
/// <param name="Job">Only this job.</param>
/// <param name="From">Only minutes that began then or later.</param>
/// <param name="To">Only minutes that began earlier.</param>
/// <param name="Limit">1 to 1,000.</param>
/// <param name="Cursor"><see cref="SkipPage.Next"/> of the page before.</param>
public sealed record SkipQuery(
    string? Job = null,
    DateTimeOffset? From = null,
    DateTimeOffset? To = null,
    int Limit = 100,
    string? Cursor = null
);

/// <summary>A page of skips, newest minute first.</summary>
/// <param name="Items">The counts.</param>
/// <param name="Next">What to hand in for the next page; <see langword="null"/> at the end.</param>
public sealed record SkipPage(IReadOnlyList<SkipCount> Items, string? Next);

/// <summary>
/// How often fires did nothing, counted by replica, job and minute; pruned with the runs. Thread-safe. Every member throws
/// <see cref="StateUnavailableException"/> when the State cannot answer.
/// </summary>
public interface IRunSkips
{
    /// <summary>How many counts one call takes at most.</summary>
    public const int MaxBatch = 1_000;

    /// <summary>Keeps counts; one that is kept already stays as it is, so that a call may be repeated.</summary>
    /// <param name="counts">At most <see cref="MaxBatch"/>.</param>
    /// <param name="cancellationToken">Ends the call.</param>
    ValueTask AddAsync(IReadOnlyList<SkipCount> counts, CancellationToken cancellationToken);

    /// <summary>Lists counts.</summary>
    ValueTask<SkipPage> ListAsync(SkipQuery query, CancellationToken cancellationToken);
}
