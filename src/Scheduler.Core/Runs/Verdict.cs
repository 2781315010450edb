using Scheduler.Leases;
using Scheduler.Locking;

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
    /// <param name="fire">What was to run.</param>
    /// <param name="claim">Under which claim it ran.</param>
    /// <param name="token">Under which token.</param>
    /// <param name="result">How it ended.</param>
    /// <param name="now">When it ended.</param>
    /// <param name="random">A number from 0 to 1, for the time of the next attempt.</param>
    public static Completion CompletionOf(
        FireRequest fire,
        ClaimAnswer.Claimed claim,
        FencingToken token,
        FireResult result,
        DateTimeOffset now,
        double random
    )
    {
        var (outcome, error) = result switch
        {
            FireResult.Succeeded => (RunOutcome.Succeeded, null),
            FireResult.Failed failed => (RunOutcome.Failed, Describe(failed.Error)),
            FireResult.Interrupted interrupted => (RunOutcome.Interrupted, Describe(interrupted.Reason)),
            _ => throw new InvalidOperationException($"{result.GetType().Name} has no outcome: no body ran."),
        };
        var next = (result as FireResult.Failed)?.Error is { } thrown ? Next(fire, claim.Failures + 1, thrown, random) : null;
        return new Completion
        {
            RunId = claim.RunId,
            Attempt = claim.Attempt,
            Token = token,
            Outcome = next is null ? outcome : RunOutcome.FailedWillRetry,
            Error = error,
            Now = now,
            NextAttemptAt = now + next,
            IsLastAttempt = outcome == RunOutcome.Failed && next is null && fire.Retry.IsConfigured,
        };
    }

    // A body that asks to be run again at once is bounded by the attempts of its job, where it has any.
    private static TimeSpan? Next(FireRequest fire, int failures, Exception error, double random)
    {
        if (fire.AsksForRetry?.Invoke(error) != true)
        {
            return fire.Retry.After(failures, random);
        }
        return !fire.Retry.IsConfigured || failures < fire.Retry.MaxAttempts ? TimeSpan.Zero : null;
    }

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
