using Scheduler.Locking;

namespace Scheduler.Leases;

/// <summary>
/// Which leases are renewed when and in which batches, and what an answer does to them. Not thread-safe: everything is under the lock of
/// the <see cref="Watchdog"/>.
/// </summary>
/// <param name="heap">The watched leases.</param>
/// <param name="options">The times.</param>
/// <param name="time">The clock of the deadlines.</param>
/// <param name="maxBatch">How many grants the store renews at once.</param>
/// <param name="send">Sends a batch without waiting.</param>
/// <param name="givenUp">Told of each batch that had no answer in time.</param>
internal sealed class LeaseRenewals(
    LeaseHeap heap,
    LeaseOptions options,
    TimeProvider time,
    int maxBatch,
    Action<RenewalBatch> send,
    Action<RenewalBatch> givenUp
)
{
    private const int MaxInFlight = 8;

    private readonly int _batchSize = Math.Max(1, maxBatch);
    private readonly Queue<LeaseState> _ready = new();
    private readonly List<RenewalBatch> _inFlight = [];

    /// <summary>When the next unanswered batch is given up.</summary>
    public long NextGiveUp
    {
        get
        {
            var next = long.MaxValue;
            foreach (var batch in _inFlight)
            {
                next = Math.Min(next, batch.GiveUpAt);
            }
            return next;
        }
    }

    /// <summary>Puts a lease into the next batch.</summary>
    public void Enqueue(LeaseState lease) => _ready.Enqueue(lease);

    /// <summary>The call of a batch has ended.</summary>
    public void Ended(RenewalBatch batch) => _inFlight.Remove(batch);

    /// <summary>When a lease whose last command was sent at an instant is renewed next.</summary>
    public long NextRenewal(LeaseState lease, long sentAt) =>
        LeaseMath.NextRenewal(sentAt, LeaseMath.RenewalInterval(lease.Duration, options.RenewalInterval), time.TimestampFrequency);

    /// <summary>Sends what is due, as far as not too many batches are under way.</summary>
    public void SendReady(long now)
    {
        while (_ready.Count > 0 && _inFlight.Count < MaxInFlight)
        {
            var leases = new List<LeaseState>(Math.Min(_batchSize, _ready.Count));
            var limit = options.CallTimeout;
            while (leases.Count < _batchSize && _ready.TryDequeue(out var lease))
            {
                if (lease.HeapIndex >= 0 && lease.InFlight is null)
                {
                    leases.Add(lease);
                    var interval = LeaseMath.RenewalInterval(lease.Duration, options.RenewalInterval);
                    limit = interval < limit ? interval : limit;
                }
            }
            if (leases.Count == 0)
            {
                return;
            }
            var items = leases.ConvertAll(l => new RenewalItem(l.Key, l.Owner, l.Token.Number, l.Duration));
            var batch = new RenewalBatch([.. leases], [.. items], LeaseMath.Add(now, Timestamps(limit)));
            leases.ForEach(l => l.InFlight = batch);
            _inFlight.Add(batch);
            send(batch);
        }
    }

    /// <summary>Waits no more for the batches whose time is over; their leases are tried again soon.</summary>
    public void GiveUpUnanswered(long now)
    {
        for (var i = _inFlight.Count - 1; i >= 0; i--)
        {
            var batch = _inFlight[i];
            if (batch.GiveUpAt > now)
            {
                continue;
            }
            _inFlight.RemoveAt(i);
            batch.GivenUp = true;
            foreach (var lease in batch.Leases)
            {
                RetrySoon(batch, lease, now);
            }
            givenUp(batch);
        }
    }

    /// <summary>Does to one lease what its answer says.</summary>
    public void Apply(RenewalBatch batch, LeaseState lease, RenewalOutcome outcome, long now)
    {
        if (!lease.IsOpen)
        {
            return;
        }
        if (now >= lease.Deadline)
        {
            // The answer came too late to be trusted: lost is final.
            lease.TryLose(LossReason.DeadlinePassed);
            return;
        }
        switch (outcome)
        {
            case RenewalOutcome.Renewed:
                lease.Extend(LeaseMath.Deadline(batch.SentAt, lease.Duration, time.TimestampFrequency));
                if (lease.InFlight == batch || lease.InFlight is null)
                {
                    lease.InFlight = null;
                    lease.Due = Math.Min(lease.Deadline, NextRenewal(lease, batch.SentAt));
                }
                else
                {
                    lease.Due = lease.Deadline;
                }
                heap.Update(lease);
                break;
            case RenewalOutcome.Revoked:
                lease.TryLose(LossReason.Revoked);
                break;
            case RenewalOutcome.Lost:
                lease.TryLose(LossReason.StoreLost);
                break;
            default:
                RetrySoon(batch, lease, now);
                break;
        }
    }

    private void RetrySoon(RenewalBatch batch, LeaseState lease, long now)
    {
        if (lease.InFlight != batch)
        {
            return;
        }
        lease.InFlight = null;
        var pause = LeaseMath.RenewalInterval(lease.Duration, options.RenewalInterval) / 2;
        pause = pause < options.CallTimeout ? pause : options.CallTimeout;
        lease.Due = Math.Min(lease.Deadline, LeaseMath.Add(now, Math.Max(1, Timestamps(pause))));
        heap.Update(lease);
    }

    private long Timestamps(TimeSpan span) => LeaseMath.ToTimestamps(span, time.TimestampFrequency);
}
