using Scheduler.Locking;

namespace Scheduler.Runs;

/// <summary>What happened to a run.</summary>
public enum RunEventKind
{
    /// <summary>An attempt was claimed. Told by the attempts.</summary>
    Claimed = 0,

    /// <summary>An attempt was claimed after the one before it had ended with its replica. Told by the attempts.</summary>
    TakenOver,

    /// <summary>An attempt ended by itself; the detail is its outcome. Told by the attempts.</summary>
    Completed,

    /// <summary>A stop or the loss of its lease ended an attempt. Told by the attempts.</summary>
    Interrupted,

    /// <summary>The lease of an attempt was lost while its body ran. Kept by <see cref="IRunEvents"/>.</summary>
    Lost,

    /// <summary>The end of an attempt was refused, because a newer one had been claimed; the detail is what it would have been. Kept by
    /// <see cref="IRunEvents"/>.</summary>
    Refused,

    /// <summary>A claim found the run after a crash and closed it as dead. Kept by <see cref="IRunEvents"/>.</summary>
    Closed,

    /// <summary>The last lines that an attempt logged, where its job keeps them; the detail, one line below the other. Kept by
    /// <see cref="IRunEvents"/>.</summary>
    Log,
}

/// <summary>Something that happened to a run.</summary>
/// <param name="RunId">The run.</param>
/// <param name="Kind">What.</param>
/// <param name="At">When, by the wall clock of the replica that saw it, whole milliseconds.</param>
/// <param name="Attempt">The attempt that it is about, from 1.</param>
/// <param name="Token">The token of the replica that did or suffered it.</param>
/// <param name="Replica">That replica.</param>
/// <param name="Detail">More, for people; at most 1,000 characters are kept, of a <see cref="RunEventKind.Log"/> all.</param>
public sealed record RunEvent(
    string RunId,
    RunEventKind Kind,
    DateTimeOffset At,
    int Attempt,
    FencingToken Token,
    string Replica,
    string? Detail = null
);

/// <summary>
/// What happened to runs beyond what their rows and attempts tell: <see cref="RunEventKind.Lost"/>,
/// <see cref="RunEventKind.Refused"/>, <see cref="RunEventKind.Closed"/> and <see cref="RunEventKind.Log"/>, each at most once for
/// an attempt. It goes with its run. Thread-safe. Every member throws <see cref="StateUnavailableException"/> when the State cannot answer.
/// </summary>
public interface IRunEvents
{
    /// <summary>How many events one call takes at most.</summary>
    public const int MaxBatch = 500;

    /// <summary>Keeps events; those that are kept already, and those of runs that are not there, are left out.</summary>
    /// <param name="events">At most <see cref="MaxBatch"/>, of these kinds.</param>
    /// <param name="cancellationToken">Ends the call.</param>
    ValueTask AddAsync(IReadOnlyList<RunEvent> events, CancellationToken cancellationToken);

    /// <summary>The events that are kept of a run, in order of time; none of a run that is not there.</summary>
    ValueTask<IReadOnlyList<RunEvent>> ListAsync(string runId, CancellationToken cancellationToken);
}
