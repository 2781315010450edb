using Microsoft.Extensions.Logging;
using Scheduler.Telemetry;

namespace Scheduler.Leases;

/// <summary>
/// Cancels the tokens of lost leases on dedicated threads, started when needed and ended when idle: user code runs in the callbacks, so it
/// must run neither on the watchdog's thread (it could block it) nor on the pool (which may be starved). Thread-safe.
/// </summary>
internal sealed class LossNotifier(int maxThreads, ILogger log)
{
    private static readonly TimeSpan IdleTime = TimeSpan.FromSeconds(5);
    private readonly object _gate = new();
    private readonly Queue<(LeaseState Lease, bool Again)> _queue = new();
    private int _threads;
    private int _idle;
    private bool _stopped;

    /// <summary>Tells of a loss soon, on a thread of its own.</summary>
    /// <param name="lease">The lost lease.</param>
    /// <param name="again">The loss is logged already; only the token is cancelled.</param>
    public void Enqueue(LeaseState lease, bool again = false)
    {
        lock (_gate)
        {
            _queue.Enqueue((lease, again));
            if (_idle >= _queue.Count)
            {
                Monitor.Pulse(_gate);
            }
            else if (_threads < maxThreads)
            {
                _threads++;
                new Thread(Run) { IsBackground = true, Name = "lease-loss" }.Start();
            }
        }
    }

    /// <summary>Lets the threads end once everything that is queued has been told.</summary>
    public void Stop()
    {
        lock (_gate)
        {
            _stopped = true;
            Monitor.PulseAll(_gate);
        }
    }

    private void Run()
    {
        while (TryTake(out var item))
        {
            try
            {
                item.Lease.CancelLostToken();
            }
            catch (Exception e)
            {
                Log.LostCallbackFailed(log, e, item.Lease.Key);
            }
            if (!item.Again && item.Lease.IsLost)
            {
                Log.LeaseLost(log, item.Lease.Key, item.Lease.Purpose, item.Lease.Token, item.Lease.LossReason);
            }
        }
    }

    private bool TryTake(out (LeaseState Lease, bool Again) item)
    {
        lock (_gate)
        {
            while (!_queue.TryDequeue(out item))
            {
                _idle++;
                // The idle time is real time on purpose: it only decides when a thread is given back.
                var signalled = !_stopped && Monitor.Wait(_gate, IdleTime);
                _idle--;
                if (!signalled && _queue.Count == 0)
                {
                    _threads--;
                    return false;
                }
            }
            return true;
        }
    }
}
