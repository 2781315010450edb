using Scheduler.Leases;
using Scheduler.Locking;

namespace Scheduler.Runs;

/// <summary>The attempt that a body executes; gathers why its token fired.</summary>
internal sealed class Run(FireRequest fire, string id, int attempt, Lease lease, string replica, CancellationToken stopping) : IRun
{
    private int _reason;
    private int _lossTold;
    private volatile bool _completed;

    public string Id => id;

    public Occurrence Occurrence => fire.Occurrence;

    public int Attempt => attempt;

    public LockKey LockKey => lease.Key;

    public FencingToken Token => lease.Token;

    public string Replica => replica;

    public CancellationToken Stopping => stopping;

    public CancellationToken Lost => lease.Lost;

    public bool IsHeld => lease.IsHeld;

    /// <summary>Why the lease is lost.</summary>
    public LossReason LossReason => lease.LossReason;

    public CancelReason CancelReason => (CancelReason)Volatile.Read(ref _reason);

    /// <summary>How many of the lines that the body logs are kept.</summary>
    public int KeepLog => fire.KeepLog;

    /// <summary>When the body began; <see langword="null"/> before that.</summary>
    public DateTimeOffset? BegunAt { get; set; }

    /// <summary>When it ended: its begin and what the boot clock says it took, because the wall clock may have been set meanwhile. What
    /// seems to last an hour would overlap everything in that hour.</summary>
    public DateTimeOffset? EndedAt { get; set; }

    /// <summary>Whether the body said that its work is done in spite of its token.</summary>
    public bool IsCompleted => _completed;

    /// <summary>Whether nobody has told of the loss of the lease yet; once.</summary>
    public bool TryTellLoss() => Interlocked.Exchange(ref _lossTold, 1) == 0;

    public void ThrowIfLost() => lease.ThrowIfLost();

    public void Complete() => _completed = true;

    /// <summary>Cancels the body; the first reason stays.</summary>
    public void Cancel(CancelReason reason)
    {
        Interlocked.CompareExchange(ref _reason, (int)reason, (int)CancelReason.None);
        fire.Cancel();
    }
}
