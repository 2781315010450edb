using Scheduler.Runs;

namespace Scheduler.Webhooks.Processing;

/// <summary>What becomes of the later events of an order behind one that waits for a person.</summary>
public enum OnDead
{
    /// <summary>They wait, too (default).</summary>
    Hold = 0,

    /// <summary>They go on.</summary>
    Continue,
}

/// <summary>How the events of a source are processed. Immutable and thread-safe.</summary>
/// <param name="Source">The source's name.</param>
/// <param name="Retry">How often an event is tried, and when.</param>
/// <param name="OnDead">What becomes of an order behind a dead or contradicting event.</param>
internal sealed record ProcessingRule(string Source, RetryRule Retry, OnDead OnDead);
