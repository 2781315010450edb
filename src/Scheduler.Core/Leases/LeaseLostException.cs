using Scheduler.Locking;

namespace Scheduler.Leases;

/// <summary>The lease that protected this work is lost: the work must stop, because another holder may be at it.</summary>
public sealed class LeaseLostException : Exception
{
    /// <summary>Creates the exception.</summary>
    /// <param name="key">What was locked.</param>
    /// <param name="token">The lost grant's token.</param>
    /// <param name="reason">Why it was lost.</param>
    public LeaseLostException(LockKey key, FencingToken token, LossReason reason)
        : base($"The lease on '{key}' under token {token} is lost ({reason}); another holder may have it now.")
    {
        Key = key;
        Token = token;
        Reason = reason;
    }

    /// <summary>What was locked.</summary>
    public LockKey Key { get; }

    /// <summary>The lost grant's token.</summary>
    public FencingToken Token { get; }

    /// <summary>Why it was lost.</summary>
    public LossReason Reason { get; }
}
