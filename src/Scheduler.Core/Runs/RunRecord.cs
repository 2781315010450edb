using Scheduler.Locking;

namespace Scheduler.Runs;

/// <summary>One row of the run ledger. Times are UTC by the wall clock of the replica that wrote them, whole milliseconds.</summary>
public sealed record RunRecord
{
    /// <summary>The trigger name of runs that a person or program asked for.</summary>
    public const string ManualTrigger = "manual";

    /// <summary>Unique in the State; sorts by creation.</summary>
    public required string Id { get; init; }

    /// <summary>The job's name.</summary>
    public required string Job { get; init; }

    /// <summary>The trigger's name; <see cref="ManualTrigger"/> for manual runs.</summary>
    public required string Trigger { get; init; }

    /// <summary>Whether it stands for an occurrence of a schedule (then job, trigger and time are unique) or was asked for.</summary>
    public required bool IsScheduled { get; init; }

    /// <summary>The scheduled time, or when the manual run was asked for.</summary>
    public required DateTimeOffset ScheduledAt { get; init; }

    /// <summary>The key that each attempt locks.</summary>
    public required LockKey LockKey { get; init; }

    /// <summary>The trigger's job data as a JSON object of strings, at most 64 KiB; <see langword="null"/> when there is none.</summary>
    public string? Data { get; init; }

    /// <summary>Where the run stands.</summary>
    public required RunState State { get; init; }

    /// <summary>The number of the newest attempt, from 1; 0 before the first.</summary>
    public required int Attempt { get; init; }

    /// <summary>How many attempts ended in a failure of the body.</summary>
    public int Failures { get; init; }

    /// <summary>How many attempts ended with the death of their replica.</summary>
    public int Crashes { get; init; }

    /// <summary>The fencing token of the newest attempt; 0 before the first.</summary>
    public FencingToken Token { get; init; }

    /// <summary>The replica id of the newest attempt.</summary>
    public string? Replica { get; init; }

    /// <summary>When the newest attempt was claimed.</summary>
    public DateTimeOffset? StartedAt { get; init; }

    /// <summary>When the newest attempt ended.</summary>
    public DateTimeOffset? FinishedAt { get; init; }

    /// <summary>When a waiting run may be claimed at the earliest.</summary>
    public DateTimeOffset? NextAttemptAt { get; init; }

    /// <summary>Why the newest attempt did not succeed; at most 4,000 characters, without bodies and secrets.</summary>
    public string? Error { get; init; }
}

/// <summary>One attempt of a run: what it was and when, so that overlaps are judged by attempts that ended.</summary>
/// <param name="RunId">The run.</param>
/// <param name="Attempt">Its number, from 1.</param>
/// <param name="Token">Its fencing token.</param>
/// <param name="Replica">Who ran it.</param>
/// <param name="StartedAt">When it was claimed.</param>
/// <param name="EndedAt">When it was completed; <see langword="null"/> while it runs, and for ever when its replica died.</param>
/// <param name="Outcome">How it ended; <see langword="null"/> while it runs, and for ever when its replica died.</param>
public sealed record RunAttempt(
    string RunId,
    int Attempt,
    FencingToken Token,
    string Replica,
    DateTimeOffset StartedAt,
    DateTimeOffset? EndedAt,
    RunOutcome? Outcome
);

/// <summary>How an attempt ended.</summary>
public enum RunOutcome
{
    /// <summary>The body returned.</summary>
    Succeeded = 0,

    /// <summary>The body threw, timed out or was interrupted by a person: the run is failed.</summary>
    Failed,

    /// <summary>The body threw and another attempt follows: the run waits until <see cref="Completion.NextAttemptAt"/>.</summary>
    FailedWillRetry,

    /// <summary>A stop or the loss of the lease ended the body: the run is claimable at once.</summary>
    Interrupted,
}
