using StackExchange.Redis;

namespace Scheduler.Redis.Redlock;

/// <summary>
/// The keys of a Redlock: those of a single node, but 256 counters that lock keys share. With one counter for all, replicas that take
/// different keys at the same time would find each other's numbers on the nodes in different orders and need a second round trip.
/// Thread-safe.
/// </summary>
internal sealed class RedlockKeys(RedisNames names)
{
    /// <summary>Fixed for ever: with another number a key's counter would begin anew.</summary>
    private const int Counters = 256;

    private readonly RedisKey[] _counters = [.. Enumerable.Range(0, Counters).Select(names.CounterOf)];

    public RedisNames Names { get; } = names;

    public RedisKey Lock(string key) => Names.Lock(key);

    public RedisKey CounterFor(string key) => _counters[Mark.Hash(key) % Counters];

    public RedisKey[] ForAcquire(string key) => [Lock(key), CounterFor(key), Names.Node];
}
