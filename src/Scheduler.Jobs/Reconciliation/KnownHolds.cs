using System.Collections.Concurrent;
using Scheduler.Locking;

namespace Scheduler.Jobs.Reconciliation;

/// <summary>
/// Until when keys are held for sure unless they are released: a running run's key need not be asked for before, because its end shows
/// in the list of open runs and its release is pushed. Not for stores where a dead holder's keys come free at once. Thread-safe.
/// </summary>
internal sealed class KnownHolds(TimeProvider time)
{
    private readonly ConcurrentDictionary<LockKey, (long Since, TimeSpan For)> _holds = new();

    /// <summary>How long a key is still held; <see langword="null"/> when that is over or not known.</summary>
    public TimeSpan? Left(LockKey key) =>
        _holds.TryGetValue(key, out var hold) && hold.For - time.GetElapsedTime(hold.Since) is { Ticks: > 0 } left ? left : null;

    /// <summary>Takes what the store said just now.</summary>
    public void Note(LockKey key, TimeSpan remaining) => _holds[key] = (time.GetTimestamp(), remaining);

    /// <summary>The key may be free.</summary>
    public void Forget(LockKey key) => _holds.TryRemove(key, out _);

    /// <summary>Forgets what is over.</summary>
    public void Sweep()
    {
        foreach (var (key, _) in _holds)
        {
            if (Left(key) is null)
            {
                Forget(key);
            }
        }
    }
}
