using Scheduler.Locking;

namespace Scheduler.Leases;

/// <summary>
/// Sends renewals from a thread of its own: a store that blocks where it should return a task then holds up renewals, which the watchdog
/// sees, and not the watchdog, which must mark the losses. Thread-safe.
/// </summary>
internal sealed class RenewalSender(ILeaseStore store, TimeProvider time, Action<RenewalBatch, RenewalReply?, Exception?> answered)
{
    private readonly object _gate = new();
    private readonly Queue<RenewalBatch> _queue = new();
    private bool _started;
    private bool _stopped;

    public void Post(RenewalBatch batch)
    {
        lock (_gate)
        {
            _queue.Enqueue(batch);
            if (!_started)
            {
                _started = true;
                new Thread(Run) { IsBackground = true, Name = "lease-renewal" }.Start();
            }
            Monitor.Pulse(_gate);
        }
    }

    public void Stop()
    {
        lock (_gate)
        {
            _stopped = true;
            Monitor.Pulse(_gate);
        }
    }

    private void Run()
    {
        while (true)
        {
            RenewalBatch batch;
            lock (_gate)
            {
                while (_queue.Count == 0 && !_stopped)
                {
                    Monitor.Wait(_gate);
                }
                if (_stopped)
                {
                    return;
                }
                batch = _queue.Dequeue();
            }
            Send(batch);
        }
    }

    private void Send(RenewalBatch batch)
    {
        if (batch.GivenUp)
        {
            answered(batch, null, null);
            return;
        }
        batch.SentAt = time.GetTimestamp();
        Task<RenewalReply> call;
        try
        {
            call = store.RenewAsync(batch.Items, batch.Cancel.Token).AsTask();
        }
        catch (Exception e)
        {
            answered(batch, null, e);
            return;
        }
        // Runs on the thread that completes the call, not on the pool: a starved pool must not delay a renewal that was answered.
        _ = call.ContinueWith(
            (ended, state) =>
            {
                var own = (RenewalBatch)state!;
                if (ended.IsCompletedSuccessfully)
                {
                    answered(own, ended.Result, null);
                }
                else
                {
                    answered(own, null, ended.Exception?.InnerException ?? new OperationCanceledException());
                }
            },
            batch,
            CancellationToken.None,
            TaskContinuationOptions.ExecuteSynchronously,
            TaskScheduler.Default
        );
    }
}
