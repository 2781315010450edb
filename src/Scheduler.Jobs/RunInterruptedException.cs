using Scheduler.Runs;

namespace Scheduler.Jobs;

/// <summary>
/// A body was ended by the loss of its lease or by a stop; Quartz gets it inside a <see cref="Quartz.JobExecutionException"/>, because
/// without one an ended body would look like a success. The run is not failed: it is claimable again, by any replica.
/// </summary>
public sealed class RunInterruptedException : Exception
{
    /// <summary>Creates the exception.</summary>
    /// <param name="occurrence">What was interrupted.</param>
    /// <param name="reason">Why.</param>
    /// <param name="innerException">What the body threw, if it threw.</param>
    public RunInterruptedException(Occurrence occurrence, CancelReason reason, Exception? innerException)
        : base(
            $"{occurrence} was interrupted: {(reason == CancelReason.Stop ? "the replica stopped" : "its lease was lost")}. The "
                + "run is open for another attempt.",
            innerException
        ) => Reason = reason;

    /// <summary>Why the body was interrupted.</summary>
    public CancelReason Reason { get; }
}
