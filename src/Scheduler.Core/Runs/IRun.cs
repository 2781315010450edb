using Scheduler.Leases;
using Scheduler.Locking;

namespace Scheduler.Runs;

/// <summary>Why a body's cancellation token fired.</summary>
public enum CancelReason
{
    /// <summary>It has not fired, or somebody interrupted the job or its time ran out.</summary>
    None = 0,

    /// <summary>The lease is lost: another replica may be at the same work now.</summary>
    LeaseLost,

    /// <summary>The replica stops and the grace time is over.</summary>
    Stop,
}

/// <summary>What a job body sees of its run. Thread-safe.</summary>
public interface IRun
{
    /// <summary>The run's id in the ledger; without State a random one.</summary>
    string Id { get; }

    /// <summary>The occurrence that the run stands for.</summary>
    Occurrence Occurrence { get; }

    /// <summary>The number of this attempt, from 1.</summary>
    int Attempt { get; }

    /// <summary>The key that is locked while the body runs.</summary>
    LockKey LockKey { get; }

    /// <summary>The fencing token of this attempt; hand it to everything that can refuse a stale writer.</summary>
    FencingToken Token { get; }

    /// <summary>The replica that runs it.</summary>
    string Replica { get; }

    /// <summary>Fires when the replica begins to stop; the body's own token fires only when the grace time is over.</summary>
    CancellationToken Stopping { get; }

    /// <summary>Fires when the lease is lost. Final.</summary>
    CancellationToken Lost { get; }

    /// <summary>Whether the body may still act, by comparing clocks now.</summary>
    bool IsHeld { get; }

    /// <summary>Why the body's token fired.</summary>
    CancelReason CancelReason { get; }

    /// <summary>Throws when the lease is lost.</summary>
    /// <exception cref="LeaseLostException">The lease is lost.</exception>
    void ThrowIfLost();

    /// <summary>
    /// Says that the work is done although the token fired: the run then counts as succeeded if its claim is still the newest, instead
    /// of being handed over. Without it, a body that returns after its token fired is interrupted and runs again.
    /// </summary>
    void Complete();
}
