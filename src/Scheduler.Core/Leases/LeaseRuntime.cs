using Microsoft.Extensions.Logging;
using Scheduler.Locking;
using Scheduler.Telemetry;

namespace Scheduler.Leases;

/// <summary>What the leases of one provider share: the gate to the store, watchdog, notifier, dropper, lines and feed.
/// Thread-safe.</summary>
internal sealed class LeaseRuntime
{
    private readonly LeaseMetrics _metrics;
    private long _acquisitions;

    public LeaseRuntime(ILeaseStore store, LeaseOptions options, string replicaId, TimeProvider time, ILogger log, StoreGate gate)
    {
        _metrics = new LeaseMetrics(store.Traits.Name);
        Traits = store.Traits;
        Options = options;
        ReplicaId = replicaId;
        Time = time;
        Log = log;
        Gate = gate;
        Notifier = new LossNotifier(options.MaxNotifierThreads, log);
        Watchdog = new Watchdog(store, options, time, gate, _metrics, log);
        Dropper = new Dropper(gate, options, time, log, OnReleased);
        HoldBacks = new HoldBacks(store.Traits);
        Lines = new WaitLines(this);
        Feed = new ReleaseFeed(this);
    }

    public LeaseStoreTraits Traits { get; }

    public LeaseOptions Options { get; }

    public string ReplicaId { get; }

    public TimeProvider Time { get; }

    public ILogger Log { get; }

    public StoreGate Gate { get; }

    public LossNotifier Notifier { get; }

    public Watchdog Watchdog { get; }

    public Dropper Dropper { get; }

    public HoldBacks HoldBacks { get; }

    public WaitLines Lines { get; }

    public ReleaseFeed Feed { get; }

    /// <summary>Asks the store for a key once, for the first of <paramref name="waiting"/> who ask again if it is held, or, with 0, for
    /// somebody who does not.</summary>
    /// <exception cref="OperationCanceledException">The caller ended it; what may have been granted is dropped.</exception>
    public async ValueTask<LockAttempt> AskAsync(
        LockKey key,
        string purpose,
        TimeSpan duration,
        int waiting,
        CancellationToken cancellationToken
    )
    {
        var owner = new LeaseOwner(ReplicaId, Interlocked.Increment(ref _acquisitions));
        var request = new AcquireRequest(key, owner, purpose, duration) { Waits = waiting > 0, OthersWait = waiting > 1 };
        var jumps = Watchdog.Clock.Jumps;
        var answer = await Gate.AcquireAsync(request, cancellationToken);
        switch (answer.Result)
        {
            case AcquireResult.Granted granted:
                return TakeGrant(request, granted, answer, jumps);
            case AcquireResult.Held held:
                _metrics.Held();
                return new LockAttempt.Held(held.Holder, held.Purpose, held.Remaining);
            default:
                var unavailable = (AcquireResult.Unavailable)answer.Result;
                if (unavailable.OutcomeUnknown)
                {
                    Dropper.AddUnknown(request, answer.Pending);
                }
                if (answer.Cancelled)
                {
                    throw new OperationCanceledException(cancellationToken);
                }
                _metrics.Unavailable();
                return new LockAttempt.Unavailable(unavailable.Reason, unavailable.Cause);
        }
    }

    /// <summary>A lease was lost: it is watched no more, and those who listen are told on other threads.</summary>
    public void OnLost(LeaseState lease, LossReason reason)
    {
        Watchdog.Remove(lease);
        Notifier.Enqueue(lease);
        _metrics.Lost(reason);
    }

    /// <summary>The handle of a lease was collected. Called from a finalizer.</summary>
    public void OnAbandoned(LeaseState lease)
    {
        Watchdog.Remove(lease);
        // Somebody may have kept the token of the loss without the handle: that work is not protected any more.
        Notifier.Enqueue(lease);
        Dropper.AddAbandoned(lease);
        _metrics.Abandoned();
    }

    /// <summary>A grant of this replica is gone.</summary>
    public void OnReleased(LockKey key, ReleaseResult result)
    {
        if (result.Contended)
        {
            HoldBacks.Begin(key);
        }
        else
        {
            HoldBacks.Forget(key);
        }
        // Whose turn it is, is pushed with the key: a question of ours before that would only be refused.
        Feed.Released(key, isNextTold: result.Contended && Traits.Fifo && Traits.PushesReleases);
    }

    private LockAttempt TakeGrant(AcquireRequest request, AcquireResult.Granted granted, in AcquireAnswer answer, int jumps)
    {
        var (now, sentAt) = (Time.GetTimestamp(), answer.SentAt);
        if (granted.ServerTime is { } serverTime)
        {
            Watchdog.Clock.Observe(serverTime, sentAt, now);
        }
        var deadline = LeaseMath.Deadline(sentAt, request.Duration, Time.TimestampFrequency);
        if (now >= deadline || granted.Number is < 1 or > FencingToken.MaxNumber)
        {
            Dropper.AddGrant(request.Key, request.Owner, request.Duration);
            _metrics.Unavailable();
            return new LockAttempt.Unavailable(
                now >= deadline
                    ? $"The {Traits.Name} lock store granted the key only after the lease of {request.Duration} was over; the "
                        + "grant is dropped."
                    : $"The {Traits.Name} lock store granted number {granted.Number}, outside 1 to {FencingToken.MaxNumber}; "
                        + "the grant is dropped."
            );
        }
        var lease = new LeaseState(this, request, FencingToken.Compose(answer.Generation, granted.Number), deadline);
        Watchdog.Add(lease, sentAt);
        if (Watchdog.Clock.Jumps != jumps)
        {
            // It may have been granted before the jump, and the leases were ended before it was among them.
            lease.TryLose(LossReason.ServerClockJumped);
        }
        _metrics.Granted();
        return new LockAttempt.Granted(new Lease(lease));
    }
}
