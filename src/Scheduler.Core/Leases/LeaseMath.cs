namespace Scheduler.Leases;

/// <summary>The arithmetic of deadlines: pure, so that it can be tested over its whole range.</summary>
/// <remarks>
/// A deadline counts from before the command was sent, so that a slow answer never stretches a lease; the drift allowance is that of
/// Redlock (S. Sanfilippo, "Distributed Locks with Redis": 1 % of the lease plus 2 ms). All instants are timestamps of the provider's
/// clock.
/// </remarks>
internal static class LeaseMath
{
    /// <summary>The shortest lease that the provider grants; below it the drift allowance and one round trip eat the lease.</summary>
    public static readonly TimeSpan ShortestLease = TimeSpan.FromMilliseconds(50);

    /// <summary>The part of a renewal interval by which renewals are gathered into batches.</summary>
    private const int GridPerInterval = 16;

    private static readonly TimeSpan FixedDrift = TimeSpan.FromMilliseconds(2);

    /// <summary>How much two clocks may differ in rate and resolution over one lease; rounded up.</summary>
    public static TimeSpan DriftAllowance(TimeSpan duration) => new((duration.Ticks / 100) + 1 + FixedDrift.Ticks);

    /// <summary>The instant after which the holder must not act.</summary>
    /// <param name="sentAt">The timestamp taken before the command was sent.</param>
    /// <param name="duration">The duration that the command asked for.</param>
    /// <param name="frequency">Timestamps per second.</param>
    public static long Deadline(long sentAt, TimeSpan duration, long frequency) =>
        Add(sentAt, ToTimestamps(duration - DriftAllowance(duration), frequency));

    /// <summary>How often a lease of this duration is renewed: as configured, but at most 40 % of it; default a third of it.</summary>
    public static TimeSpan RenewalInterval(TimeSpan duration, TimeSpan? configured)
    {
        var longest = duration * Locking.LeaseOptionsValidator.LargestRenewalShare;
        return configured is { } interval && interval < longest ? interval
            : configured is null ? duration / 3
            : longest;
    }

    /// <summary>
    /// When to renew next: one interval after the last command, moved back to a grid of a sixteenth of the interval, so that leases taken
    /// at scattered instants share batches.
    /// </summary>
    public static long NextRenewal(long sentAt, TimeSpan interval, long frequency)
    {
        var step = ToTimestamps(interval, frequency);
        var grid = Math.Max(1, step / GridPerInterval);
        var due = Add(sentAt, step);
        return due - Math.Abs(due % grid);
    }

    /// <summary>Converts a span to timestamps, rounded towards zero, without overflow (it saturates).</summary>
    public static long ToTimestamps(TimeSpan span, long frequency)
    {
        var value = (Int128)span.Ticks * frequency / TimeSpan.TicksPerSecond;
        return value > long.MaxValue ? long.MaxValue
            : value < long.MinValue ? long.MinValue
            : (long)value;
    }

    /// <summary>Converts a number of timestamps to a span, rounded towards zero, without overflow (it saturates).</summary>
    public static TimeSpan ToTimeSpan(long timestamps, long frequency)
    {
        var value = (Int128)timestamps * TimeSpan.TicksPerSecond / frequency;
        return value > long.MaxValue ? TimeSpan.MaxValue
            : value < long.MinValue ? TimeSpan.MinValue
            : new TimeSpan((long)value);
    }

    /// <summary>Adds without overflow.</summary>
    public static long Add(long timestamp, long difference)
    {
        var value = (Int128)timestamp + difference;
        return value > long.MaxValue ? long.MaxValue
            : value < long.MinValue ? long.MinValue
            : (long)value;
    }
}
