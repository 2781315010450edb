namespace Scheduler.Webhooks.Processing;

/// <summary>The places that handlers run in. Thread-safe.</summary>
/// <param name="degree">How many there are.</param>
internal sealed class HandlerPlaces(int degree)
{
    private readonly Lock _gate = new();
    private int _used;
    private TaskCompletionSource? _allFree;

    /// <summary>Takes free places; each is to be given back once.</summary>
    /// <param name="most">So many at most.</param>
    /// <param name="leaving">So many are left free.</param>
    /// <returns>How many it took.</returns>
    public int Take(int most, int leaving = 0)
    {
        lock (_gate)
        {
            var taken = Math.Clamp(degree - _used - leaving, 0, most);
            _used += taken;
            return taken;
        }
    }

    /// <summary>Whether none is free.</summary>
    public bool AreUsed
    {
        get
        {
            lock (_gate)
            {
                return _used == degree;
            }
        }
    }

    /// <summary>Gives places back.</summary>
    public void Return(int places)
    {
        lock (_gate)
        {
            _used -= places;
            if (_used == 0)
            {
                _allFree?.TrySetResult();
            }
        }
    }

    /// <summary>Waits until all are free; when nobody takes any more they stay so.</summary>
    public Task AllFreeAsync()
    {
        lock (_gate)
        {
            _allFree ??= new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
            if (_used == 0)
            {
                _allFree.TrySetResult();
            }
            return _allFree.Task;
        }
    }
}
