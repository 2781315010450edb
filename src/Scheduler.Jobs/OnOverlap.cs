namespace Scheduler.Jobs;

/// <summary>What becomes of occurrences that come due while an attempt of the same trigger runs that ends by itself.</summary>
public enum OnOverlap
{
    /// <summary>All of them are recorded as overlapped (default).</summary>
    Skip = 0,

    /// <summary>
    /// The last of them runs when that attempt has ended, unless one that was due later has been run by then; the others are recorded as
    /// overlapped.
    /// </summary>
    RunAfter,
}
