using System.Runtime.InteropServices;

namespace Scheduler.Time;

/// <summary>
/// The system's time with a monotonic part that counts suspend: CLOCK_BOOTTIME on Linux, so that a lease does not seem fresh after
/// the machine slept. Elsewhere <see cref="TimeProvider.System"/>'s own. Thread-safe.
/// </summary>
public sealed partial class BootTimeProvider : TimeProvider
{
    private const int ClockBootTime = 7;
    private static readonly bool HasBootClock = OperatingSystem.IsLinux();

    private BootTimeProvider() { }

    /// <summary>The one instance.</summary>
    public static BootTimeProvider Instance { get; } = new();

    /// <inheritdoc/>
    public override long TimestampFrequency => HasBootClock ? 1_000_000_000 : base.TimestampFrequency;

    /// <inheritdoc/>
    public override long GetTimestamp()
    {
        if (!HasBootClock)
        {
            return base.GetTimestamp();
        }
        return ClockGetTime(ClockBootTime, out var time) == 0
            ? checked((long)time.Seconds * 1_000_000_000 + (long)time.Nanoseconds)
            : throw new PlatformNotSupportedException("clock_gettime(CLOCK_BOOTTIME) failed; Linux 2.6.39 or later is needed.");
    }

    [LibraryImport("libc", EntryPoint = "clock_gettime")]
    [DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
    [SuppressGCTransition]
    private static partial int ClockGetTime(int clock, out TimeSpec time);

    [StructLayout(LayoutKind.Sequential)]
    private readonly struct TimeSpec
    {
        public readonly nint Seconds;
        public readonly nint Nanoseconds;
    }
}
