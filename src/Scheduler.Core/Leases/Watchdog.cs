using Microsoft.Extensions.Logging;
using Scheduler.Locking;
using Scheduler.Telemetry;

namespace Scheduler.Leases;

/// <summary>
/// The one loop that renews all leases of a store and marks them lost at their deadlines, on a thread of its own: no timer and no task per
/// lease, no user code, nothing of the store's, and nothing that waits for the pool runs on it. Thread-safe.
/// </summary>
internal sealed class Watchdog
{
    /// <summary>
    /// The longest wait while leases are held: the system's waits do not count suspend, our clock does, so a loss after a resume is told
    /// this late at most (asking a lease shows it at once).
    /// </summary>
    private static readonly TimeSpan LongestWait = TimeSpan.FromMilliseconds(200);

    private readonly object _gate = new();
    private readonly LeaseHeap _heap = new();
    private readonly LeaseRenewals _renewals;
    private readonly TimeProvider _time;
    private readonly StoreGate _store;
    private readonly ServerClockGuard _clock;
    private readonly LeaseMetrics _metrics;
    private readonly ILogger _log;
    private readonly RenewalSender _sender;
    private ITimer? _alarm;
    private long _wakeAt = long.MaxValue;
    private bool _started;
    private bool _stopped;

    public Watchdog(ILeaseStore store, LeaseOptions options, TimeProvider time, StoreGate gate, LeaseMetrics metrics, ILogger log)
    {
        _time = time;
        _store = gate;
        _metrics = metrics;
        _log = log;
        _clock = new ServerClockGuard(time, metrics, log, gate.Name, EndAll);
        _sender = new RenewalSender(store, time, OnAnswer);
        _renewals = new LeaseRenewals(_heap, options, time, store.Traits.MaxRenewalBatch, _sender.Post, OnGivenUp);
    }

    /// <summary>Looks at the server's clock in answers and ends all leases when it jumps.</summary>
    public ServerClockGuard Clock => _clock;

    /// <summary>How many leases are watched.</summary>
    public int Count
    {
        get
        {
            lock (_gate)
            {
                return _heap.Count;
            }
        }
    }

    /// <summary>Begins to watch a lease.</summary>
    public void Add(LeaseState lease, long sentAt)
    {
        lock (_gate)
        {
            if (_stopped)
            {
                lease.TryLose(LossReason.ProviderDisposed);
                return;
            }
            lease.Due = Math.Min(lease.Deadline, _renewals.NextRenewal(lease, sentAt));
            _heap.Add(lease);
            if (!_started)
            {
                _started = true;
                _alarm = _time.CreateTimer(_ => Wake(), null, Timeout.InfiniteTimeSpan, Timeout.InfiniteTimeSpan);
                new Thread(Run) { IsBackground = true, Name = "lease-watchdog" }.Start();
            }
            else if (lease.Due < _wakeAt)
            {
                Monitor.PulseAll(_gate);
            }
        }
    }

    /// <summary>Stops watching a lease; harmless when it is not watched.</summary>
    public void Remove(LeaseState lease)
    {
        lock (_gate)
        {
            _heap.Remove(lease);
        }
    }

    /// <summary>Renews all leases now: what was lost while the store was away is told at once and not at its next renewal.</summary>
    public void RenewAll()
    {
        lock (_gate)
        {
            var now = _time.GetTimestamp();
            foreach (var lease in _heap.ToArray())
            {
                if (lease.InFlight is null && lease.Due > now)
                {
                    lease.Due = now;
                    _heap.Update(lease);
                }
            }
            Monitor.PulseAll(_gate);
        }
    }

    /// <summary>Ends all leases as lost.</summary>
    /// <returns>How many.</returns>
    public int EndAll(LossReason reason)
    {
        lock (_gate)
        {
            var all = _heap.ToArray();
            return all.Count(lease => lease.TryLose(reason));
        }
    }

    /// <summary>Ends the loop and all leases as lost with the provider.</summary>
    public void Stop()
    {
        lock (_gate)
        {
            _stopped = true;
            EndAll(LossReason.ProviderDisposed);
            Monitor.PulseAll(_gate);
        }
        _sender.Stop();
        _alarm?.Dispose();
    }

    private void Wake()
    {
        lock (_gate)
        {
            Monitor.PulseAll(_gate);
        }
    }

    private void Run()
    {
        lock (_gate)
        {
            while (!_stopped)
            {
                try
                {
                    var now = _time.GetTimestamp();
                    _renewals.GiveUpUnanswered(now);
                    TakeDue(now);
                    _renewals.SendReady(now);
                    WaitForNext();
                }
                catch (Exception e)
                {
                    Log.WatchdogFailed(_log, e, _store.Name);
                    Monitor.Wait(_gate, LongestWait);
                }
            }
        }
    }

    private void TakeDue(long now)
    {
        while (_heap.Count > 0 && _heap.Top.Due <= now)
        {
            var lease = _heap.Top;
            if (lease.Deadline <= now)
            {
                _heap.Remove(lease);
                lease.TryLose(LossReason.DeadlinePassed);
                continue;
            }
            // While its renewal waits or is under way, only its deadline matters.
            lease.Due = lease.Deadline;
            _heap.Update(lease);
            if (lease.InFlight is null)
            {
                _renewals.Enqueue(lease);
            }
        }
    }

    private void OnGivenUp(RenewalBatch batch)
    {
        // On the pool, because the store's own callbacks run with it.
        _ = batch.Cancel.CancelAsync();
        _ = Task.Run(() => _store.NoteFailure("renew", error: null));
        _metrics.Renewed(RenewalOutcome.Unknown, batch.Leases.Length);
    }

    /// <summary>Takes in an answer, in time or late; called on any thread.</summary>
    private void OnAnswer(RenewalBatch batch, RenewalReply? reply, Exception? error)
    {
        var now = _time.GetTimestamp();
        if (reply is not null && reply.Outcomes.Count != batch.Items.Length)
        {
            error = new InvalidOperationException(
                $"The store answered {batch.Items.Length} renewals with {reply.Outcomes.Count} outcomes."
            );
            reply = null;
        }
        if (reply?.ServerTime is { } serverTime)
        {
            _clock.Observe(serverTime, batch.SentAt, now);
        }
        bool late;
        lock (_gate)
        {
            late = batch.GivenUp;
            _renewals.Ended(batch);
            var counts = new int[4];
            for (var i = 0; i < batch.Leases.Length; i++)
            {
                var outcome = reply?.Outcomes[i] ?? RenewalOutcome.Unknown;
                counts[(int)outcome & 3]++;
                _renewals.Apply(batch, batch.Leases[i], outcome, now);
            }
            for (var outcome = late ? 1 : 0; outcome < counts.Length; outcome++)
            {
                _metrics.Renewed((RenewalOutcome)outcome, counts[outcome]);
            }
            Monitor.PulseAll(_gate);
        }
        batch.End();
        if (reply is not null)
        {
            _store.NoteAnswer();
        }
        else if (!late)
        {
            Log.RenewalUnanswered(_log, batch.Items.Length, error?.Message ?? "given up before it was sent");
            _store.NoteFailure("renew", error);
        }
    }

    private void WaitForNext()
    {
        var next = _heap.Count > 0 ? _heap.Top.Due : long.MaxValue;
        next = Math.Min(next, _renewals.NextGiveUp);
        var now = _time.GetTimestamp();
        if (next <= now || _stopped)
        {
            return;
        }
        _wakeAt = next;
        if (next == long.MaxValue)
        {
            Monitor.Wait(_gate);
        }
        else
        {
            var wait = LeaseMath.ToTimeSpan(next - now, _time.TimestampFrequency) + TimeSpan.FromTicks(1);
            // Two alarms: the wait itself holds when the pool is starved, where timers come late; the provider's timer holds when the
            // clock is a test's, which moves without real time passing.
            _alarm!.Change(wait, Timeout.InfiniteTimeSpan);
            var longest = wait < LongestWait ? wait : LongestWait;
            Monitor.Wait(_gate, TimeSpan.FromMilliseconds(Math.Ceiling(longest.TotalMilliseconds)));
        }
        _wakeAt = long.MinValue;
    }
}
