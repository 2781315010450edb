using Scheduler.Leases;

namespace Scheduler.Runs;

/// <summary>Judges how a body ended, from its result and from why its token fired. Pure.</summary>
internal static class Verdict
{
    /// <summary>Judges a body that has ended.</summary>
    /// <param name="run">The run.</param>
    /// <param name="error">What the body threw; <see langword="null"/> when it returned.</param>
    /// <param name="cancellationToken">The body's token: fired without a reason of ours, somebody interrupted the job.</param>
    public static FireResult Of(Run run, Exception? error, CancellationToken cancellationToken)
    {
        if (run.IsCompleted && error is (null or OperationCanceledException))
        {
            return new FireResult.Succeeded(run);
        }
        // The clock is asked, not only the flag: a process that was frozen may see its result before the watchdog spoke.
        // A LeaseLostException alone says nothing: it may be about a lock that the body took for itself.
        if (run.CancelReason == CancelReason.LeaseLost || !run.IsHeld)
        {
            return new FireResult.Interrupted(run, CancelReason.LeaseLost, error);
        }
        if (run.CancelReason == CancelReason.Stop)
        {
            return new FireResult.Interrupted(run, CancelReason.Stop, error);
        }
        if (error is null && cancellationToken.IsCancellationRequested)
        {
            error = new OperationCanceledException("The job was interrupted on request.", cancellationToken);
        }
        return error is null ? new FireResult.Succeeded(run) : new FireResult.Failed(run, error);
    }

    /// <summary>What the ledger gets to know of a result.</summary>
    public static (RunOutcome Outcome, string? Error) OutcomeOf(FireRequest fire, FireResult result) =>
        result switch
        {
            FireResult.Succeeded => (RunOutcome.Succeeded, null),
            FireResult.Failed { Error: var error } when fire.AsksForRetry?.Invoke(error) == true => (
                RunOutcome.FailedWillRetry,
                Describe(error)
            ),
            FireResult.Failed { Error: var error } => (RunOutcome.Failed, Describe(error)),
            FireResult.Interrupted { Reason: var reason } => (RunOutcome.Interrupted, Describe(reason)),
            _ => throw new InvalidOperationException($"{result.GetType().Name} has no outcome: no body ran."),
        };

    /// <summary>What the history keeps of an end that the ledger refused.</summary>
    public static RunEvent Refused(Completion completion, string replica, DateTimeOffset now)
    {
        var would = RunStory.Name(completion.Outcome);
        var detail = completion.Error is null ? would : $"{would}: {completion.Error}";
        return new RunEvent(completion.RunId, RunEventKind.Refused, now, completion.Attempt, completion.Token, replica, detail);
    }

    /// <summary>An exception as the ledger and the log show it.</summary>
    public static string Describe(Exception error) => $"{error.GetType().Name}: {error.Message}";

    /// <summary>A loss as the history shows it.</summary>
    public static string Describe(LossReason reason) =>
        reason switch
        {
            LossReason.StoreLost => "The lock store said that the grant was gone.",
            LossReason.Revoked => "The lock was released by force.",
            LossReason.ServerClockJumped => "The clock of the lock store jumped.",
            LossReason.ProviderDisposed => "The replica let go of its locks.",
            _ => "The deadline passed without a confirmed renewal.",
        };

    /// <summary>A cancellation as the ledger and the log show it.</summary>
    public static string Describe(CancelReason reason) =>
        reason == CancelReason.Stop ? "The replica stopped and the grace time was over." : "The lease was lost.";
}
