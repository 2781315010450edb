using System.Runtime.InteropServices;

namespace Scheduler.Jobs.Clocks;

/// <summary>One look at both clocks of this process.</summary>
/// <param name="Wall">The wall clock.</param>
/// <param name="Boot">The boot clock at the same instant.</param>
[StructLayout(LayoutKind.Auto)]
internal readonly record struct ClockReading(DateTimeOffset Wall, TimeSpan Boot)
{
    private const int Tries = 3;
    private static readonly TimeSpan Narrow = TimeSpan.FromMilliseconds(1);

    /// <summary>What the wall clock showed at boot clock zero: the same at every look, until the wall clock is set.</summary>
    public DateTimeOffset BootedAt => Wall - Boot;

    /// <summary>Reads them. A thread that lost its processor between the two reads them again.</summary>
    public static ClockReading Take(TimeProvider time)
    {
        ArgumentNullException.ThrowIfNull(time);
        for (var i = 1; ; i++)
        {
            var before = time.GetTimestamp();
            var wall = time.GetUtcNow();
            var width = time.GetElapsedTime(before);
            if (width <= Narrow || i == Tries)
            {
                return new ClockReading(wall, time.GetElapsedTime(0, before) + (width / 2));
            }
        }
    }
}
