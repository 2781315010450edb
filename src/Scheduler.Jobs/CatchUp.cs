namespace Scheduler.Jobs;

/// <summary>
/// What becomes of an occurrence that nobody ran within 5 s of its time, because no replica was up, the lock store or State was away, or
/// a dead replica had its key. Younger ones are run whatever this says, and a run that has begun is gone on with after a crash.
/// </summary>
public enum CatchUp
{
    /// <summary>The newest one runs, unless one that was due later has been recorded since; the others are left out (default).</summary>
    Latest = 0,

    /// <summary>None of them runs.</summary>
    None,

    /// <summary>All of them run, the oldest first, one after another, up to <see cref="SingleInstanceAttribute.CatchUpLimit"/> of the
    /// newest.</summary>
    All,
}
