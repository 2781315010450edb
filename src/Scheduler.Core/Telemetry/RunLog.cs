using Microsoft.Extensions.Logging;

namespace Scheduler.Telemetry;

/// <summary>The log messages of runs and State; event ids 1100 to 1199 are stable.</summary>
internal static partial class RunLog
{
    [LoggerMessage(1100, LogLevel.Information, "State '{State}' answers")]
    public static partial void StateUp(ILogger logger, string state);

    [LoggerMessage(1101, LogLevel.Warning, "State '{State}' is down, no job starts: {Reason}")]
    public static partial void StateDown(ILogger logger, string state, string reason);

    [LoggerMessage(1102, LogLevel.Information, "Started {Occurrence}, attempt {Attempt}, under token {Token}")]
    public static partial void RunStarted(ILogger logger, Runs.Occurrence occurrence, int attempt, Locking.FencingToken token);

    [LoggerMessage(1103, LogLevel.Information, "Ended {Occurrence}, attempt {Attempt}, under token {Token}: {Outcome} after {Elapsed} ms")]
    public static partial void RunEnded(
        ILogger logger,
        Runs.Occurrence occurrence,
        int attempt,
        Locking.FencingToken token,
        Runs.RunOutcome outcome,
        long elapsed
    );

    [LoggerMessage(1104, LogLevel.Warning, "Ended {Occurrence}, attempt {Attempt}, under token {Token}: {Outcome}: {Error}")]
    public static partial void RunEndedBadly(
        ILogger logger,
        Runs.Occurrence occurrence,
        int attempt,
        Locking.FencingToken token,
        Runs.RunOutcome outcome,
        string error
    );

    /// <summary>Says how a body ended.</summary>
    public static void Ended(ILogger logger, Runs.FireResult result, TimeSpan elapsed)
    {
        switch (result)
        {
            case Runs.FireResult.Succeeded { Run: var run }:
                RunEnded(logger, run.Occurrence, run.Attempt, run.Token, Runs.RunOutcome.Succeeded, (long)elapsed.TotalMilliseconds);
                break;
            case Runs.FireResult.Failed { Run: var run, Error: var error }:
                RunEndedBadly(logger, run.Occurrence, run.Attempt, run.Token, Runs.RunOutcome.Failed, Runs.Verdict.Describe(error));
                break;
            case Runs.FireResult.Interrupted { Run: var run, Reason: var reason }:
                RunEndedBadly(logger, run.Occurrence, run.Attempt, run.Token, Runs.RunOutcome.Interrupted, Runs.Verdict.Describe(reason));
                break;
        }
    }

    [LoggerMessage(1111, LogLevel.Information, "{Occurrence}: attempt {Attempt} failed, the next one may begin at {Next:O}")]
    public static partial void WillRetry(ILogger logger, Runs.Occurrence occurrence, int attempt, DateTimeOffset? next);

    [LoggerMessage(
        1112,
        LogLevel.Error,
        "{Occurrence} is dead: attempt {Attempt} failed and no other is allowed (MaxAttempts). POST /api/runs/{RunId}/retry runs it again"
    )]
    public static partial void Dead(ILogger logger, Runs.Occurrence occurrence, int attempt, string runId);

    /// <summary>Says what follows from a failure, where the job is tried more than once.</summary>
    public static void Decided(ILogger logger, Runs.Occurrence occurrence, Runs.Completion completion)
    {
        if (completion.Outcome == Runs.RunOutcome.FailedWillRetry)
        {
            WillRetry(logger, occurrence, completion.Attempt, completion.NextAttemptAt);
        }
        else if (completion.IsLastAttempt)
        {
            Dead(logger, occurrence, completion.Attempt, completion.RunId);
        }
    }

    [LoggerMessage(1105, LogLevel.Debug, "Skipped {Occurrence}: {Reason}")]
    public static partial void Skipped(ILogger logger, Runs.Occurrence occurrence, string reason);

    [LoggerMessage(1106, LogLevel.Warning, "Did not start {Occurrence}: {Reason}")]
    public static partial void NotStarted(ILogger logger, Runs.Occurrence occurrence, string reason);

    [LoggerMessage(
        1107,
        LogLevel.Warning,
        "The end of {Occurrence}, attempt {Attempt}, was refused: a newer claim exists, so what it did after losing its lease "
            + "does not count"
    )]
    public static partial void CompletionRefused(ILogger logger, Runs.Occurrence occurrence, int attempt);

    [LoggerMessage(1108, LogLevel.Warning, "The end of {Occurrence} is not recorded yet, trying again in the background: {Reason}")]
    public static partial void CompletionDeferred(ILogger logger, Runs.Occurrence occurrence, string reason);

    [LoggerMessage(
        1109,
        LogLevel.Error,
        "Gave up recording the end of {Occurrence}; its lock is left to expire and the run runs again: {Reason}"
    )]
    public static partial void CompletionGivenUp(ILogger logger, Runs.Occurrence occurrence, string reason);

    [LoggerMessage(1114, LogLevel.Warning, "{Count} events of runs are not in the history: {Reason}")]
    public static partial void EventsLost(ILogger logger, int count, string reason);

    [LoggerMessage(1115, LogLevel.Warning, "{Count} skips are not counted: {Reason}")]
    public static partial void SkipsNotCounted(ILogger logger, int count, string reason);

    [LoggerMessage(1116, LogLevel.Warning, "{Count} counts of skips could not be written yet: {Reason}")]
    public static partial void SkipsNotWritten(ILogger logger, int count, string reason);

    [LoggerMessage(
        1117,
        LogLevel.Warning,
        "State '{State}' was paired with the lock store {Former} and is now with {Store} {StoreId}; tokens are of generation {Generation}"
    )]
    public static partial void PairReplaced(ILogger logger, string state, string former, string store, string storeId, int generation);

    [LoggerMessage(1110, LogLevel.Warning, "Cancelling the body of {Occurrence}: {Reason}")]
    public static partial void Cancelling(ILogger logger, Runs.Occurrence occurrence, Runs.CancelReason reason);
}
