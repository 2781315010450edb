using Scheduler.Locking;

namespace Scheduler.Leases;

/// <summary>
/// What the watchdog holds of a lease: everything but the handle, so that a handle that nobody has any more can be collected and noticed.
/// </summary>
/// <remarks>Status and reason of a loss change together in one atomic step, from held to exactly one end. Thread-safe.</remarks>
internal sealed class LeaseState
{
    private const int Held = 0;
    private const int Released = 1;
    private const int LeftToExpire = 2;
    private const int Abandoned = 3;
    private const int LostBase = 16;

    private readonly LeaseRuntime _runtime;
    private readonly long _acquisition;
    private CancellationTokenSource? _lost;
    private long _deadline;
    private int _status;
    private int _releaseSent;

    public LeaseState(LeaseRuntime runtime, AcquireRequest request, FencingToken token, long deadline)
    {
        _runtime = runtime;
        _acquisition = request.Owner.Acquisition;
        Key = request.Key;
        Purpose = request.Purpose;
        Duration = request.Duration;
        Token = token;
        _deadline = deadline;
    }

    public LockKey Key { get; }

    public string Purpose { get; }

    public TimeSpan Duration { get; }

    public FencingToken Token { get; }

    public LeaseOwner Owner => new(_runtime.ReplicaId, _acquisition);

    public LeaseRuntime Runtime => _runtime;

    /// <summary>When the watchdog looks at it next: its renewal, or its deadline while a renewal is under way. Under the watchdog's
    /// lock.</summary>
    public long Due { get; set; }

    /// <summary>Its place in the watchdog's heap, −1 when it is not there. Under the watchdog's lock.</summary>
    public int HeapIndex { get; set; } = -1;

    /// <summary>The renewal that is under way. Written under the watchdog's lock.</summary>
    public RenewalBatch? InFlight { get; set; }

    public long Deadline => Volatile.Read(ref _deadline);

    /// <summary>Whether nothing has ended it yet; says nothing about the clock.</summary>
    public bool IsOpen => Volatile.Read(ref _status) == Held;

    public bool IsLost => Volatile.Read(ref _status) >= LostBase;

    public LossReason LossReason =>
        Volatile.Read(ref _status) is var status && status >= LostBase ? (LossReason)(status - LostBase) : LossReason.None;

    /// <summary>Compares the clock now, and makes a lease whose deadline has passed lost at once.</summary>
    public bool CheckHeld()
    {
        if (!IsOpen)
        {
            return false;
        }
        if (_runtime.Time.GetTimestamp() < Deadline)
        {
            return IsOpen;
        }
        TryLose(LossReason.DeadlinePassed);
        return false;
    }

    /// <summary>Moves the deadline. Only the watchdog calls it, under its lock, and only while the old deadline has not passed.</summary>
    public void Extend(long deadline)
    {
        if (deadline > _deadline)
        {
            Volatile.Write(ref _deadline, deadline);
        }
    }

    /// <summary>Ends it as lost, once; the first reason stays.</summary>
    public bool TryLose(LossReason reason)
    {
        if (!TryEnd(LostBase + (int)reason))
        {
            return false;
        }
        _runtime.OnLost(this, reason);
        return true;
    }

    public bool TryBeginRelease() => TryEnd(Released);

    public bool TryLeaveToExpire() => TryEnd(LeftToExpire);

    /// <summary>Ends it because its handle was collected; only once.</summary>
    public bool TryAbandon() => TryEnd(Abandoned);

    /// <summary>Whether this is the first release that is sent for a lost lease.</summary>
    public bool TrySendRelease() => Interlocked.Exchange(ref _releaseSent, 1) == 0;

    /// <summary>The token of the loss, made when it is first asked for: most leases never need one.</summary>
    public CancellationToken LostToken
    {
        get
        {
            CheckHeld();
            if (IsLost)
            {
                return new CancellationToken(canceled: true);
            }
            var source = Volatile.Read(ref _lost);
            if (source is null)
            {
                var made = new CancellationTokenSource();
                source = Interlocked.CompareExchange(ref _lost, made, null) ?? made;
            }
            if (IsLost)
            {
                // Lost between the two looks: the notifier may have come before the source was there, so it is told again.
                _runtime.Notifier.Enqueue(this, again: true);
                return new CancellationToken(canceled: true);
            }
            return source.Token;
        }
    }

    /// <summary>Runs the callbacks of the loss. Only notifier threads call it: a callback may block.</summary>
    public void CancelLostToken() => Volatile.Read(ref _lost)?.Cancel();

    private bool TryEnd(int status) => Interlocked.CompareExchange(ref _status, status, Held) == Held;
}
