using Scheduler.Hosting;

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
}
