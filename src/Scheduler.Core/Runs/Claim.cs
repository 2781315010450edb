using Scheduler.Locking;

namespace Scheduler.Runs;

/// <summary>
/// Asks the ledger to record that a run is now executed by this holder under this token. Exactly one of <see cref="Occurrence"/> and
/// <see cref="RunId"/> names the run.
/// </summary>
public sealed record ClaimRequest
{
    /// <summary>An occurrence: it gets a row if it has none; a row that it has is not taken over.</summary>
    public Occurrence? Occurrence { get; init; }

    /// <summary>An existing open run: its next attempt (take-over, retry, manual run).</summary>
    public string? RunId { get; init; }

    /// <summary>The key that the caller holds; its fence is raised to <see cref="Token"/> in the same transaction.</summary>
    public required LockKey LockKey { get; init; }

    /// <summary>The caller's token for that key.</summary>
    public required FencingToken Token { get; init; }

    /// <summary>The caller's replica id.</summary>
    public required string Replica { get; init; }

    /// <summary>The caller's wall clock.</summary>
    public required DateTimeOffset Now { get; init; }

    /// <summary>Job data to keep with a new row, as a JSON object of strings.</summary>
    public string? Data { get; init; }

    /// <summary>What becomes of a run whose holder died.</summary>
    public OnCrash OnCrash { get; init; }

    /// <summary>How many crashes a run survives; the next makes it dead. 0 to 1,000.</summary>
    public int MaxCrashes { get; init; } = 3;
}

/// <summary>What the ledger answered to a claim: one of the nested cases.</summary>
public abstract record ClaimResult
{
    private ClaimResult() { }

    /// <summary>The run is the caller's to execute.</summary>
    /// <param name="Run">The row as it stands now: state running, the caller's attempt, token and replica.</param>
    public sealed record Claimed(RunRecord Run) : ClaimResult;

    /// <summary>There is nothing to do for the caller: the occurrence has a row, or the run is not open or not claimable now.</summary>
    /// <param name="Run">The row as it stands.</param>
    public sealed record Recorded(RunRecord Run) : ClaimResult;

    /// <summary>The claim found a crashed run that must not run again, and closed it as dead.</summary>
    /// <param name="Run">The row as it stands now.</param>
    public sealed record Closed(RunRecord Run) : ClaimResult;

    /// <summary>A newer token has been seen for the lock key: the caller's lease is not the newest, nothing was changed.</summary>
    /// <param name="Newest">The newest token.</param>
    public sealed record Stale(FencingToken Newest) : ClaimResult;

    /// <summary>There is no run with that id.</summary>
    public sealed record Unknown : ClaimResult;
}

/// <summary>The end of an attempt.</summary>
public sealed record Completion
{
    /// <summary>The run.</summary>
    public required string RunId { get; init; }

    /// <summary>The attempt that ended.</summary>
    public required int Attempt { get; init; }

    /// <summary>The token under which it was claimed.</summary>
    public required FencingToken Token { get; init; }

    /// <summary>How it ended.</summary>
    public required RunOutcome Outcome { get; init; }

    /// <summary>Why it did not succeed; cut to 4,000 characters by the ledger.</summary>
    public string? Error { get; init; }

    /// <summary>
    /// When the body began, by the writer's wall clock; it replaces the time of the claim, which may have waited for State, and what came
    /// due while it waited was not overlapped. <see langword="null"/> when no body began.
    /// </summary>
    public DateTimeOffset? StartedAt { get; init; }

    /// <summary>When the attempt ended, by the writer's wall clock.</summary>
    public required DateTimeOffset Now { get; init; }

    /// <summary>With <see cref="RunOutcome.FailedWillRetry"/>: when the next attempt may begin.</summary>
    public DateTimeOffset? NextAttemptAt { get; init; }

    /// <summary>With <see cref="RunOutcome.Failed"/>: whether it used up the last of several attempts, so that the run is
    /// <see cref="RunState.Dead"/>.</summary>
    public bool IsLastAttempt { get; init; }
}

/// <summary>What the ledger did with a completion.</summary>
public enum CompletionResult
{
    /// <summary>It is recorded; also when the same completion had been recorded before (its answer was lost).</summary>
    Accepted = 0,

    /// <summary>The attempt is not the newest claim of the run any more, or the run is closed: nothing was changed.</summary>
    Refused,
}
