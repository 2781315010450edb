using System.Collections.Concurrent;

namespace Scheduler.Bench.Floors;

/// <summary>A dictionary in this process.</summary>
internal sealed class RawMemory : IRawLock
{
    private readonly ConcurrentDictionary<string, (string Owner, long Until)> _locks = new(StringComparer.Ordinal);

    public ValueTask<bool> TakeAsync(string key, string owner, TimeSpan duration)
    {
        var now = TimeProvider.System.GetTimestamp();
        var entry = (owner, now + (long)(duration.TotalSeconds * TimeProvider.System.TimestampFrequency));
        return new(
            _locks.TryAdd(key, entry) || (_locks.TryGetValue(key, out var held) && held.Until <= now && _locks.TryUpdate(key, entry, held))
        );
    }

    public ValueTask<bool> FreeAsync(string key, string owner) =>
        new(_locks.TryGetValue(key, out var held) && held.Owner == owner && _locks.TryRemove(KeyValuePair.Create(key, held)));

    public ValueTask RenewAsync(IReadOnlyList<string> keys, string owner, TimeSpan duration)
    {
        var until = TimeProvider.System.GetTimestamp() + (long)(duration.TotalSeconds * TimeProvider.System.TimestampFrequency);
        foreach (var key in keys)
        {
            _locks[key] = (owner, until);
        }
        return ValueTask.CompletedTask;
    }

    public ValueTask<bool> TakeForLifeAsync(string key, TimeSpan duration) => TakeAsync(key, "life", duration);

    public ValueTask DisposeAsync() => ValueTask.CompletedTask;
}
