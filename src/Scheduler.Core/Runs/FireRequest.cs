using Scheduler.Locking;

namespace Scheduler.Runs;

/// <summary>One fire on its way through the pipeline: what is to run, under which key, and how to reach its body.</summary>
public sealed record FireRequest
{
    /// <summary>The occurrence that the fire stands for; for manual runs the time of asking under
    /// <see cref="RunRecord.ManualTrigger"/>.</summary>
    public required Occurrence Occurrence { get; init; }

    /// <summary>The existing run of which this is the next attempt; <see langword="null"/> for a new occurrence.</summary>
    public string? RunId { get; init; }

    /// <summary>Whether the body of this same fire asked to be run again at once.</summary>
    public bool IsRefire { get; init; }

    /// <summary>The key to lock while the body runs.</summary>
    public required LockKey LockKey { get; init; }

    /// <summary>The lease duration; <see langword="null"/> for the default.</summary>
    public TimeSpan? Lease { get; init; }

    /// <summary>Job data to keep with a new row, as a JSON object of strings.</summary>
    public string? Data { get; init; }

    /// <summary>What becomes of the run when its holder dies.</summary>
    public OnCrash OnCrash { get; init; }

    /// <summary>How many crashes the run survives.</summary>
    public int MaxCrashes { get; init; } = 3;

    /// <summary>How many of the last lines that its body logs are kept with the run; 0 to 200.</summary>
    public int KeepLog { get; init; }

    /// <summary>How often it is tried when its body fails; needs a State.</summary>
    public RetryRule Retry { get; init; } = RetryRule.None;

    /// <summary>Cancels the body's token; returns at once, never throws, may be called more than once and from any thread.</summary>
    public required Action Cancel { get; init; }

    /// <summary>Whether an exception of the body asks for another attempt at once.</summary>
    public Func<Exception, bool>? AsksForRetry { get; init; }
}

/// <summary>How a fire ended: one of the nested cases.</summary>
public abstract record FireResult
{
    private FireResult() { }

    /// <summary>The body ran and is done.</summary>
    /// <param name="Run">What ran.</param>
    public sealed record Succeeded(IRun Run) : FireResult;

    /// <summary>The body ran and failed.</summary>
    /// <param name="Run">What ran.</param>
    /// <param name="Error">What the body threw.</param>
    public sealed record Failed(IRun Run, Exception Error) : FireResult;

    /// <summary>A stop or the loss of the lease ended the body; the run is claimable again.</summary>
    /// <param name="Run">What ran.</param>
    /// <param name="Reason">Which of the two.</param>
    /// <param name="Error">What the body threw, if it threw.</param>
    public sealed record Interrupted(IRun Run, CancelReason Reason, Exception? Error) : FireResult;

    /// <summary>No body ran, because the occurrence is held or recorded elsewhere. Normal.</summary>
    /// <param name="Reason">Why, for people.</param>
    /// <param name="Holder">The replica that has or had it, if known.</param>
    public sealed record Skipped(string Reason, string? Holder = null) : FireResult;

    /// <summary>No body ran, because the lock store or the State did not answer. An error.</summary>
    /// <param name="Reason">Which and why, without secrets.</param>
    public sealed record Unavailable(string Reason) : FireResult;
}
