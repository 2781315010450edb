using Scheduler.Hosting;
using Scheduler.Redis.Redlock;

namespace Scheduler.Redis;

/// <summary>Adds Redis to what an application may use.</summary>
public static class RedisBackend
{
    /// <summary>Keeps locks on one Redis server, 7.0 or later (level <see cref="Locking.Level.Efficiency"/>).</summary>
    /// <param name="builder">The application's choice of backends.</param>
    /// <param name="connectionString">host:port and options of StackExchange.Redis, for example
    /// <c>redis.internal:6379,password=…,ssl=true</c>; exactly one endpoint. Never logged or shown.</param>
    /// <returns>The same builder.</returns>
    /// <exception cref="ArgumentException">Nothing is given. A text that cannot be read is refused when the store is made.</exception>
    public static T UseRedis<T>(this T builder, string connectionString)
        where T : IBackendBuilder
    {
        ArgumentNullException.ThrowIfNull(builder);
        ArgumentException.ThrowIfNullOrEmpty(connectionString);
        builder.SetLeaseStore((_, context) => new RedisLeaseStore(connectionString, context));
        return builder;
    }

    /// <summary>Keeps locks on a majority of independent Redis servers, 7.0 or later
    /// (level <see cref="Locking.Level.Efficiency"/>).</summary>
    /// <param name="builder">The application's choice of backends.</param>
    /// <param name="endpoints">For each server host:port and options of StackExchange.Redis; an odd number from 3 to 15. Never logged or
    /// shown.</param>
    /// <returns>The same builder.</returns>
    /// <exception cref="ArgumentException">The endpoints are not what is allowed; the message names every problem.</exception>
    public static T UseRedlock<T>(this T builder, params IReadOnlyList<string> endpoints)
        where T : IBackendBuilder
    {
        ArgumentNullException.ThrowIfNull(builder);
        if (RedlockEndpoints.Problems(endpoints) is { Count: > 0 } problems)
        {
            throw new ArgumentException($"The endpoints of Redlock: {string.Join(" ", problems)}", nameof(endpoints));
        }
        builder.SetLeaseStore((_, context) => new RedlockLeaseStore(endpoints, context));
        return builder;
    }
}
