using Scheduler.Time;

namespace Scheduler.Sqlite.Leases;

/// <summary>
/// The time that leases are kept in: the same for every process of the host, never set back, counting suspend, and void after a boot.
/// Not the clocks of a <see cref="Hosting.BackendContext"/>, which are those of one replica. Thread-safe.
/// </summary>
/// <param name="BootId">The random id of this boot of the host.</param>
/// <param name="Time">The clocks of the host; the monotonic one counts from the boot.</param>
internal sealed record HostClock(string BootId, TimeProvider Time)
{
    private const string BootIdFile = "/proc/sys/kernel/random/boot_id";
    private const long NanosecondsPerSecond = 1_000_000_000;

    /// <summary>Nanoseconds since the host was started (CLOCK_BOOTTIME).</summary>
    public long Now =>
        Time.TimestampFrequency == NanosecondsPerSecond
            ? Time.GetTimestamp()
            : (long)((Int128)Time.GetTimestamp() * NanosecondsPerSecond / Time.TimestampFrequency);

    /// <summary>Microseconds since 1970 by the host's wall clock; only numbers of grants follow it.</summary>
    public long WallMicroseconds => (Time.GetUtcNow() - DateTimeOffset.UnixEpoch).Ticks / TimeSpan.TicksPerMicrosecond;

    /// <summary>The clock of this host.</summary>
    /// <exception cref="PlatformNotSupportedException">The system has no boot id.</exception>
    public static HostClock Read() =>
        File.Exists(BootIdFile)
            ? new HostClock(File.ReadAllText(BootIdFile).Trim(), BootTimeProvider.Instance)
            : throw new PlatformNotSupportedException(
                $"There is no {BootIdFile}: SQLite locks need Linux. Use a networked lock store such as 'redis' on this system."
            );

    /// <summary>The nanoseconds of a duration.</summary>
    public static long Nanoseconds(TimeSpan duration) => checked(duration.Ticks * TimeSpan.NanosecondsPerTick);

    /// <summary>The duration between two instants, not below zero.</summary>
    public static TimeSpan Between(long from, long to) => TimeSpan.FromTicks(Math.Max(0, to - from) / TimeSpan.NanosecondsPerTick);
}
