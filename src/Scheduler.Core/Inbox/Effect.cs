using Scheduler.Locking;

namespace Scheduler.Inbox;

/// <summary>An effect that the holder of a lock is about to have: what it is, and the grant that it is done under. Immutable.</summary>
/// <param name="Key">Names the effect.</param>
/// <param name="LockKey">The key that the caller holds, that of the order.</param>
/// <param name="Token">The token of its grant.</param>
public sealed record Effect(EffectKey Key, LockKey LockKey, FencingToken Token)
{
    /// <summary>What commits together with the effect, if anything does.</summary>
    public IEffectEnd? End { get; init; }

    /// <summary>A stable idempotency key for services outside: 64 lower-case hexadecimal digits, the same at every attempt.</summary>
    public string IdempotencyKey => Key.IdempotencyKey;
}
