using Scheduler.Locking;

namespace Scheduler.Runs;

/// <summary>Which runs to show; all that is given must hold.</summary>
/// <param name="Job">Only this job.</param>
/// <param name="State">Only this state.</param>
/// <param name="Limit">1 to 1,000.</param>
/// <param name="Cursor"><see cref="RunPage.Next"/> of the page before.</param>
public sealed record RunQuery(string? Job = null, RunState? State = null, int Limit = 100, string? Cursor = null)
{
    /// <summary>Only this trigger; <see cref="RunRecord.ManualTrigger"/> for the runs that were asked for.</summary>
    public string? Trigger { get; init; }

    /// <summary>Only runs whose newest attempt is of this replica (its id).</summary>
    public string? Replica { get; init; }

    /// <summary>Only runs under this lock key.</summary>
    public LockKey? LockKey { get; init; }

    /// <summary>Only runs that were scheduled for this time or later.</summary>
    public DateTimeOffset? From { get; init; }

    /// <summary>Only runs that were scheduled for an earlier time.</summary>
    public DateTimeOffset? To { get; init; }
}

/// <summary>
/// A page of runs, newest scheduled time first. It may have fewer runs than asked for, or none, although there is a next one: a page
/// compares at most 5,000 rows with filters for which the ledger has no order of its own.
/// </summary>
/// <param name="Items">The runs.</param>
/// <param name="Next">What to hand in for the next page; <see langword="null"/> at the end.</param>
public sealed record RunPage(IReadOnlyList<RunRecord> Items, string? Next);

/// <summary>A recorded occurrence of a trigger with its attempts.</summary>
/// <param name="Run">The row.</param>
/// <param name="Attempts">Its attempts in order.</param>
public sealed record RecordedOccurrence(RunRecord Run, IReadOnlyList<RunAttempt> Attempts);

/// <summary>A range of a trigger's occurrences.</summary>
/// <param name="Job">The job.</param>
/// <param name="Trigger">The trigger.</param>
/// <param name="After">The exclusive lower bound of scheduled times.</param>
/// <param name="Until">The inclusive upper bound.</param>
public readonly record struct OccurrenceRange(string Job, string Trigger, DateTimeOffset After, DateTimeOffset Until);

/// <summary>What the ledger knows of a range.</summary>
/// <param name="Rows">In order the rows in it, and the earlier ones with an attempt that lasted a second or longer and ended at or after
/// its begin: what is made up for late may still have run while others came due. Earlier ones with shorter attempts may be there or
/// not: no trigger is due more often than once a second.</param>
/// <param name="Before">The newest row at or before the begin of the range that is not <see cref="RunState.Overlapped"/>, or
/// <see langword="null"/>.</param>
public sealed record RecordedRange(IReadOnlyList<RecordedOccurrence> Rows, RecordedOccurrence? Before);

/// <summary>A run that somebody asks for.</summary>
/// <param name="Job">The job.</param>
/// <param name="LockKey">The key that its attempts lock.</param>
/// <param name="Data">Job data as a JSON object of strings, at most 64 KiB.</param>
/// <param name="RequestedAt">The asker's wall clock; becomes the scheduled time.</param>
/// <param name="RequestKey">Makes the request idempotent: a second one with the same key is the first one's run.</param>
/// <param name="RequestData">With a request key: what the request itself said of the data, as a text that is equal for equal requests.
/// <paramref name="Data"/> may differ for them, because they are also the job's own.</param>
public sealed record RunRequest(
    string Job,
    LockKey LockKey,
    string? Data,
    DateTimeOffset RequestedAt,
    string? RequestKey = null,
    string? RequestData = null
);

/// <summary>What the ledger answered to a request for a run: one of the nested cases.</summary>
public abstract record RequestResult
{
    private RequestResult() { }

    /// <summary>The run is recorded, by this request or by an earlier one with the same key that said the same.</summary>
    /// <param name="Run">The row as it stands.</param>
    public sealed record Recorded(RunRecord Run) : RequestResult;

    /// <summary>The key was used by a request that said something else; nothing was changed.</summary>
    /// <param name="Run">The run of that request.</param>
    public sealed record KeyReused(RunRecord Run) : RequestResult;

    /// <summary>The job has <see cref="IRunLedger.MostRequested"/> runs that were asked for and are not over; nothing was
    /// changed.</summary>
    public sealed record Full : RequestResult;
}

/// <summary>
/// The record of runs of one group: one row per occurrence, written durably before anything acts on it. Thread-safe. Every member
/// throws <see cref="StateUnavailableException"/> when the State cannot answer; the outcome of a write is then unknown.
/// </summary>
public interface IRunLedger
{
    /// <summary>How many ranges <see cref="OccurrencesAsync"/> takes at most.</summary>
    public const int MaxRanges = 500;

    /// <summary>How many runs of a job that were asked for may be open at once.</summary>
    public const int MostRequested = 1_000;

    /// <summary>
    /// Records a claim and raises the fence of the lock key to its token, in one transaction. A running run is taken over only under a
    /// larger token than its own: the caller holds the lock, so the former holder is gone.
    /// </summary>
    ValueTask<ClaimResult> ClaimAsync(ClaimRequest request, CancellationToken cancellationToken);

    /// <summary>Records the end of an attempt, accepted only while attempt and token are the newest claim of an open run.</summary>
    ValueTask<CompletionResult> CompleteAsync(Completion completion, CancellationToken cancellationToken);

    /// <summary>Records a request for a run (state waiting). The bound is that of <see cref="MostRequested"/>; requests that come at the
    /// same moment may exceed it by their number.</summary>
    ValueTask<RequestResult> RequestAsync(RunRequest request, CancellationToken cancellationToken);

    /// <summary>Looks for an earlier request.</summary>
    /// <param name="job">The job.</param>
    /// <param name="requestKey">The key.</param>
    /// <param name="requestData">What the request of now says, as <see cref="RunRequest.RequestData"/>.</param>
    /// <param name="cancellationToken">Ends the call.</param>
    /// <returns>What <see cref="RequestAsync"/> would answer; <see langword="null"/> when the key was not used for the job.</returns>
    ValueTask<RequestResult?> FindRequestAsync(string job, string requestKey, string requestData, CancellationToken cancellationToken);

    /// <summary>
    /// Gives a <see cref="RunState.Failed"/> or <see cref="RunState.Dead"/> run another go, with all its attempts and crashes allowed
    /// again: it is <see cref="RunState.Waiting"/>. One that waits for its next attempt waits no longer; any other stays as it is.
    /// </summary>
    /// <returns>The row as it stands now, or <see langword="null"/> when there is no such run.</returns>
    ValueTask<RunRecord?> ReopenAsync(string runId, CancellationToken cancellationToken);

    /// <summary>Says that no living replica has the job of a run: it is <see cref="RunState.Orphaned"/> until one claims it.</summary>
    /// <param name="runId">The run.</param>
    /// <param name="token">Its token; a run that began another attempt since stays as it is, and so does one that is over.</param>
    /// <param name="cancellationToken">Ends the call.</param>
    /// <returns>Whether it is orphaned now by this call.</returns>
    ValueTask<bool> OrphanAsync(string runId, FencingToken token, CancellationToken cancellationToken);

    /// <summary>Shows one run with its attempts, or <see langword="null"/>.</summary>
    ValueTask<RecordedOccurrence?> FindAsync(string runId, CancellationToken cancellationToken);

    /// <summary>Lists runs.</summary>
    ValueTask<RunPage> ListAsync(RunQuery query, CancellationToken cancellationToken);

    /// <summary>
    /// Lists the open runs that somebody may have to start: the running ones, in order of their scheduled time; of those that wait or are
    /// interrupted the first under each lock key, by the time since which it is due (<see cref="RunRecord.NextAttemptAt"/>, or the
    /// scheduled time where it has none); of the orphaned ones the first under each lock key. So no number of one kind, or under one
    /// key, hides anything else; what does not fit into one look is shown by those that follow.
    /// </summary>
    /// <param name="query">From when on, and how many.</param>
    /// <param name="cancellationToken">Ends the call.</param>
    /// <returns>The runs, and where the next look goes on; <see langword="null"/> where it begins anew.</returns>
    ValueTask<RunPage> OpenRunsAsync(OpenRunsQuery query, CancellationToken cancellationToken);

    /// <summary>Shows what is recorded of triggers' occurrences.</summary>
    /// <param name="ranges">At most <see cref="MaxRanges"/>.</param>
    /// <param name="cancellationToken">Ends the call.</param>
    /// <returns>What is known of each, in the same order.</returns>
    ValueTask<IReadOnlyList<RecordedRange>> OccurrencesAsync(IReadOnlyList<OccurrenceRange> ranges, CancellationToken cancellationToken);

    /// <summary>Records that an occurrence waits for its key, which is held for something else (state waiting); one that has a row already
    /// stays as it is, and where another one of its trigger is due under that key already, nothing is recorded.</summary>
    /// <param name="occurrence">The occurrence.</param>
    /// <param name="lockKey">The key that its attempts lock.</param>
    /// <param name="data">Job data as a JSON object of strings, at most 64 KiB.</param>
    /// <param name="now">The writer's wall clock.</param>
    /// <param name="cancellationToken">Ends the call.</param>
    ValueTask RecordWaitingAsync(
        Occurrence occurrence,
        LockKey lockKey,
        string? data,
        DateTimeOffset now,
        CancellationToken cancellationToken
    );

    /// <summary>Records occurrences as overlapped; those that have a row already stay as they are.</summary>
    ValueTask RecordOverlappedAsync(
        IReadOnlyList<Occurrence> occurrences,
        LockKey lockKey,
        DateTimeOffset now,
        CancellationToken cancellationToken
    );

    /// <summary>
    /// Deletes closed runs that finished before a time, oldest first. Occurrences that are not settled stay (see
    /// <see cref="IScheduleLedger"/>). With the last of them go what belongs to them and the skips of that time.
    /// </summary>
    /// <param name="finishedBefore">The bound.</param>
    /// <param name="limit">How many at most in this call, 1 to 10,000.</param>
    /// <param name="cancellationToken">Ends the call.</param>
    /// <returns>How many were deleted.</returns>
    ValueTask<int> PruneAsync(DateTimeOffset finishedBefore, int limit, CancellationToken cancellationToken);
}
