namespace Scheduler.Jobs.Reconciliation;

/// <summary>Wakes one loop before its time; many wakes before it looks are one. Thread-safe.</summary>
internal sealed class WakeSignal(TimeProvider time) : IDisposable
{
    private readonly SemaphoreSlim _signal = new(0, 1);

    /// <summary>Wakes the loop, or lets its next wait end at once.</summary>
    public void Set()
    {
        try
        {
            _signal.Release();
        }
        catch (SemaphoreFullException)
        {
            // It is awake already.
        }
        catch (ObjectDisposedException)
        {
            // The loop has ended.
        }
    }

    /// <summary>Waits for a wake, at most for <paramref name="atMost"/>.</summary>
    public async ValueTask WaitAsync(TimeSpan atMost, CancellationToken cancellationToken)
    {
        using var timer = time.CreateTimer(static s => ((WakeSignal)s!).Set(), this, atMost, Timeout.InfiniteTimeSpan);
        await _signal.WaitAsync(cancellationToken);
    }

    public void Dispose() => _signal.Dispose();
}
