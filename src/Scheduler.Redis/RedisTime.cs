namespace Scheduler.Redis;

internal static class RedisTime
{
    /// <summary>The server's wall clock as the scripts give it.</summary>
    public static DateTimeOffset FromMicroseconds(long microseconds) =>
        DateTimeOffset.UnixEpoch.AddTicks(microseconds * TimeSpan.TicksPerMicrosecond);
}
