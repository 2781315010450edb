namespace Scheduler.Redis;

internal static class RedisTime
{
    /// <summary>The server's wall clock as the scripts give it.</summary>
    public static DateTimeOffset FromMicroseconds(long microseconds) =>
        DateTimeOffset.UnixEpoch.AddTicks(microseconds * TimeSpan.TicksPerMicrosecond);

    // A lock without an end was not made by the scripts; it is shown as free at any moment rather than never.
    public static TimeSpan Remaining(long milliseconds) => TimeSpan.FromMilliseconds(Math.Max(milliseconds, 0));
}
