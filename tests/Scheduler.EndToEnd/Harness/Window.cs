using Scheduler.Testing;
using Scheduler.Testing.History;

namespace Scheduler.EndToEnd.Harness;

/// <summary>The time in which a test judges what was due; begins on a whole second, after every replica has been ready.</summary>
internal sealed class Window
{
    private static readonly TimeSpan LeadIn = TimeSpan.FromSeconds(2);

    private Window(DateTimeOffset from) => From = from;

    /// <summary>The first instant.</summary>
    public DateTimeOffset From { get; }

    /// <summary>Opens a window now, far enough ahead that clocks which are apart agree on what lies in it.</summary>
    public static Window Open() => new(Ceiling(HostClock.Now + LeadIn));

    /// <summary>Waits until so much of the window has passed.</summary>
    public async Task UntilAsync(TimeSpan length)
    {
        var end = From + length;
        await Eventually.Holds(() => HostClock.Now >= end, length + TimeSpan.FromMinutes(1));
    }

    /// <summary>Ends the window now: what comes due later is not judged.</summary>
    public DateTimeOffset Close() => HostClock.Now - TimeSpan.FromMilliseconds(500);

    /// <summary>What an interval, or the cron expression that means the same, has to bring between the begin and an end.</summary>
    public ExpectedOccurrences Every(
        double seconds,
        string job,
        string trigger,
        DateTimeOffset until,
        bool mayOverlap = false,
        double offset = 0
    ) => ExpectedOccurrences.Every(job, trigger, TimeSpan.FromSeconds(seconds), From, until, mayOverlap, TimeSpan.FromSeconds(offset));

    private static DateTimeOffset Ceiling(DateTimeOffset time) =>
        new((time.UtcTicks + TimeSpan.TicksPerSecond - 1) / TimeSpan.TicksPerSecond * TimeSpan.TicksPerSecond, TimeSpan.Zero);
}
