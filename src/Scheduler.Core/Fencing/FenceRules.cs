using Scheduler.Locking;

namespace Scheduler.Fencing;

/// <summary>What every fence refuses, whatever the resource is. Stateless and thread-safe.</summary>
internal static class FenceRules
{
    /// <summary>How often a transaction is tried that others make fail.</summary>
    public const int Tries = 5;

    private static readonly TimeSpan ShortestLimit = TimeSpan.FromMilliseconds(100);
    private static readonly TimeSpan LongestLimit = TimeSpan.FromMinutes(10);

    /// <summary>Refuses arguments that name no resource, key or grant.</summary>
    public static void CheckArguments(string resource, LockKey lockKey, FencingToken token)
    {
        ArgumentException.ThrowIfNullOrEmpty(resource);
        ArgumentException.ThrowIfNullOrEmpty(lockKey.Value, nameof(lockKey));
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(token.Value, nameof(token));
    }

    /// <summary>Refuses a time limit out of its bounds.</summary>
    public static void CheckLimit(TimeSpan limit)
    {
        if (limit < ShortestLimit || limit > LongestLimit)
        {
            throw new ArgumentOutOfRangeException(
                nameof(limit),
                limit,
                $"The Limit of fenced work is {limit}; allowed is {ShortestLimit} to {LongestLimit}."
            );
        }
    }

    /// <summary>Judges a holder by what its resource's fence shows after the attempt to raise it.</summary>
    /// <exception cref="StaleLeaseException">A newer token has been seen.</exception>
    /// <exception cref="InvalidOperationException">Another lock key protects the resource.</exception>
    public static void ThrowIfRefused(string resource, LockKey lockKey, FencingToken token, string seenKey, long seenToken)
    {
        if (seenKey != lockKey.Value)
        {
            throw OtherKey(resource, lockKey, seenKey);
        }
        if (seenToken > token.Value)
        {
            throw new StaleLeaseException(resource, lockKey, token, new FencingToken(seenToken));
        }
    }

    /// <summary>A fence remembers its lock key.</summary>
    public static InvalidOperationException OtherKey(string resource, LockKey lockKey, string seenKey) =>
        new(
            $"The resource '{resource}' is fenced by the lock key '{seenKey}', not by '{lockKey}': tokens of different keys cannot be "
                + "compared. Use one lock key for all work on the resource, or another resource name."
        );
}
