using Scheduler.Jobs.Versions;
using Scheduler.Leases;
using Scheduler.Runs;

namespace Scheduler.Jobs;

/// <summary>Whether this replica can run jobs now. Thread-safe.</summary>
public sealed class ReplicaStatus
{
    /// <summary>What the heartbeat of a replica says that takes fires.</summary>
    internal const string Running = "running";

    private readonly ILockProvider _locks;
    private readonly StateGuard? _state;
    private readonly ScheduleBounds _bounds;
    private volatile string? _notRunning = "the scheduler has not started yet";

    internal ReplicaStatus(ILockProvider locks, StateGuard? state, ScheduleBounds bounds) =>
        (_locks, _state, _bounds) = (locks, state, bounds);

    /// <summary>Whether lock store and State answer and the scheduler runs.</summary>
    public bool IsReady => NotReadyReasons.Count == 0;

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

    /// <summary>What the heartbeat says: <see cref="Running"/> or <c>stopping</c>.</summary>
    internal string Activity { get; private set; } = Running;

    internal void Started()
    {
        IsStarted = true;
        _notRunning = null;
    }

    internal void Stopping()
    {
        _notRunning = "the replica is stopping";
        Activity = "stopping";
    }
}
