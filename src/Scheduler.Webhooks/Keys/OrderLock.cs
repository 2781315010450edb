using Scheduler.Locking;

namespace Scheduler.Webhooks.Keys;

/// <summary>Names the lock of an order. Thread-safe.</summary>
public static class OrderLock
{
    /// <summary>The lock under which the events of one order are processed: <c>order:{source}:{order key}</c>.</summary>
    /// <param name="source">The source's name.</param>
    /// <param name="orderKey">The order key of one of its events.</param>
    /// <exception cref="ArgumentException">These are no source and order key, so that the text is no lock key.</exception>
    public static LockKey KeyOf(string source, string orderKey) => LockKey.From($"order:{source}:{orderKey}");
}
