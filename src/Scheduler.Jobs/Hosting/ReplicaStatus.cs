using Scheduler.Jobs.Clocks;
using Scheduler.Jobs.Versions;
using Scheduler.Leases;
using Scheduler.Runs;

namespace Scheduler.Jobs;

/// <summary>Whether this replica can run jobs now. Thread-safe.</summary>
public sealed class ReplicaStatus
{
    /// <summary>What the heartbeat of a replica says that takes fires.</summary>
    internal const string Running = "running";

    /// <summary>That of one that has not compared its wall clock yet.</summary>
    internal const string Starting = "starting";

    /// <summary>That of one whose wall clock is off.</summary>
    internal const string ClockOff = "clockOff";

    private readonly ILockProvider _locks;
    private readonly StateGuard? _state;
    private readonly ScheduleBounds _bounds;
    private readonly ClockGuard _clock;
    private volatile string? _notRunning = "the scheduler has not started yet";
    private volatile bool _isStopping;
    private volatile bool _isClosing;

    internal ReplicaStatus(ILockProvider locks, StateGuard? state, ScheduleBounds bounds, ClockGuard clock) =>
        (_locks, _state, _bounds, _clock) = (locks, state, bounds, clock);

    /// <summary>Whether lock store and State answer, the wall clock is right, and the scheduler runs.</summary>
    public bool IsReady => NotReadyReasons.Count == 0;

    /// <summary>Whether a stop is under way and its drain delay is over, so that nothing new is to be taken from outside.</summary>
    public bool IsClosing => _isClosing;

    /// <summary>Why not, one sentence each; without secrets.</summary>
    public IReadOnlyList<string> NotReadyReasons
    {
        get
        {
            var reasons = new List<string>();
            if (_notRunning is { } reason)
            {
                reasons.Add(reason);
            }
            if (_locks.Health is { IsUp: false } locks)
            {
                reasons.Add($"lock store '{_locks.Traits.Name}' is down since {locks.Since:O}: {locks.Reason}");
            }
            if (_state?.Health is { IsUp: false } state)
            {
                reasons.Add($"State '{_state.Name}' is down since {state.Since:O}: {state.Reason}");
            }
            if (_clock.Problem is { } wrong)
            {
                reasons.Add($"this replica does not fire: {wrong}");
            }
            return reasons;
        }
    }

    /// <summary>From when on this replica's definition of a trigger does not count, because a living replica has a newer one;
    /// <see langword="null"/> while it counts.</summary>
    /// <param name="job">The job's identity.</param>
    /// <param name="trigger">The trigger.</param>
    public DateTimeOffset? SupersededAt(string job, string trigger) => _bounds.Superseded(job, trigger);

    /// <summary>Whether the host has come up.</summary>
    internal bool IsStarted { get; private set; }

    /// <summary>What the heartbeat says: <c>stopping</c>, or what its clock lets it do.</summary>
    internal string Activity => _isStopping ? "stopping" : _clock.Activity;

    internal void Started()
    {
        IsStarted = true;
        _notRunning = null;
    }

    internal void Stopping()
    {
        _notRunning = "the replica is stopping";
        _isStopping = true;
    }

    internal void Closing() => _isClosing = true;
}
