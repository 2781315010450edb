using Scheduler.Time;

namespace Scheduler.EndToEnd.Harness;

/// <summary>The one clock that all processes on the host share, whatever wall clock a worker is given.</summary>
internal static class HostClock
{
    private static readonly BootTimeProvider Clock = BootTimeProvider.Instance;

    /// <summary>Time since the boot of the host.</summary>
    public static TimeSpan Boot => Clock.GetElapsedTime(0, Clock.GetTimestamp());

    /// <summary>The host's wall clock.</summary>
    public static DateTimeOffset Now => Clock.GetUtcNow();

    /// <summary>The host's wall clock at boot clock zero.</summary>
    public static DateTimeOffset BootedAt => Now - Boot;
}
