using System.Threading.Channels;
using Microsoft.Extensions.Logging;
using Scheduler.Leases;
using Scheduler.Telemetry;

namespace Scheduler.Runs;

/// <summary>
/// Records in the background what the State did not answer to, and keeps the lock meanwhile, so that no other replica runs again what
/// is done. One loop, a bounded queue, first in first out. Thread-safe.
/// </summary>
internal sealed class Completer : IAsyncDisposable
{
    /// <summary>How many ends may wait to be recorded.</summary>
    public const int Capacity = 1_000;

    private readonly TimeSpan _retryInterval;
    private readonly TimeProvider _time;
    private readonly ILogger _logger;
    private readonly Channel<Pending> _queue = Channel.CreateBounded<Pending>(Capacity);
    private readonly CancellationTokenSource _stop = new();
    private readonly Task _loop;
    private int _pending;
    private volatile bool _gaveUp;

    public Completer(TimeSpan retryInterval, TimeProvider time, ILogger logger)
    {
        _retryInterval = retryInterval;
        _time = time;
        _logger = logger;
        _loop = Task.Run(LoopAsync);
    }

    /// <summary>How many ends are not recorded yet.</summary>
    public int Count => Volatile.Read(ref _pending);

    /// <summary>Whether an end was given up: its run seems to go on.</summary>
    public bool GaveUp => _gaveUp;

    /// <summary>Takes over an end: <paramref name="record"/> is repeated until it does not throw, then the lease is released.</summary>
    public void Enqueue(Occurrence occurrence, Lease lease, Func<CancellationToken, ValueTask> record, string reason)
    {
        Interlocked.Increment(ref _pending);
        if (_queue.Writer.TryWrite(new Pending(occurrence, lease, record)))
        {
            RunLog.CompletionDeferred(_logger, occurrence, reason);
            return;
        }
        GiveUp(occurrence, _stop.IsCancellationRequested ? "the replica stopped" : $"{Capacity} ends wait already");
    }

    /// <summary>Ends the loop: what is not recorded is left, its locks expire, and the runs run again.</summary>
    public async ValueTask DisposeAsync()
    {
        if (_stop.IsCancellationRequested)
        {
            return;
        }
        _queue.Writer.TryComplete();
        await _stop.CancelAsync();
        await _loop;
        while (_queue.Reader.TryRead(out var left))
        {
            GiveUp(left.Occurrence, "the replica stopped");
        }
        _stop.Dispose();
    }

    private async Task LoopAsync()
    {
        try
        {
            await foreach (var pending in _queue.Reader.ReadAllAsync(_stop.Token))
            {
                await RecordAsync(pending);
            }
        }
        catch (OperationCanceledException)
        {
            // Disposed of; what is left in the queue is given up there.
        }
    }

    private async Task RecordAsync(Pending pending)
    {
        while (true)
        {
            try
            {
                await pending.Record(_stop.Token);
                await pending.Lease.ReleaseAsync(CancellationToken.None);
                Interlocked.Decrement(ref _pending);
                return;
            }
            catch (StateUnavailableException) when (!_stop.IsCancellationRequested)
            {
                await WaitAsync();
            }
#pragma warning disable CA1031 // One end that cannot be recorded must not keep all later ones from being recorded.
            catch (Exception e)
#pragma warning restore CA1031
            {
                GiveUp(pending.Occurrence, _stop.IsCancellationRequested ? "the replica stopped" : Verdict.Describe(e));
                return;
            }
        }
    }

    private async Task WaitAsync()
    {
        try
        {
            await Task.Delay(_retryInterval, _time, _stop.Token);
        }
        catch (OperationCanceledException)
        {
            // The next try ends at once and gives up.
        }
    }

    // Nothing is released: the grant ends by itself once nobody renews it.
    private void GiveUp(Occurrence occurrence, string reason)
    {
        _gaveUp = true;
        Interlocked.Decrement(ref _pending);
        RunLog.CompletionGivenUp(_logger, occurrence, reason);
    }

    private sealed record Pending(Occurrence Occurrence, Lease Lease, Func<CancellationToken, ValueTask> Record);
}
