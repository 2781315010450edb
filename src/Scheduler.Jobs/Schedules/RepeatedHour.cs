using Quartz;

namespace Scheduler.Jobs.Schedules;

/// <summary>
/// The due times of an expression in and around an hour that a zone has twice because its clocks are set back. Quartz tells in such an hour
/// which of the two a time is from the instant that it is asked about: one that is asked only in the second hour finds times there that
/// have been in the first. So they are always counted from before the first. Immutable and thread-safe.
/// </summary>
internal sealed class RepeatedHour
{
    // No zone repeats more than a day.
    private const int MostMinutes = 2 * 24 * 60;
    private static readonly TimeSpan Minute = TimeSpan.FromMinutes(1);

    private readonly DateTimeOffset[] _times;
    private readonly DateTimeOffset? _following;

    private RepeatedHour(DateTimeOffset start, DateTimeOffset end, DateTimeOffset[] times, DateTimeOffset? following)
    {
        (Start, End) = (start, end);
        (_times, _following) = (times, following);
    }

    /// <summary>When the first of the two hours begins.</summary>
    public DateTimeOffset Start { get; }

    /// <summary>When the second of them ends; it is not in it any more.</summary>
    public DateTimeOffset End { get; }

    /// <summary>Whether a local time stands for two instants in the zone, of which this is one.</summary>
    public static bool Has(TimeZoneInfo zone, DateTimeOffset instant) => zone.IsAmbiguousTime(instant);

    /// <summary>Computes the due times around an instant for which <see cref="Has"/> is true.</summary>
    public static RepeatedHour Around(CronExpression cron, DateTimeOffset instant)
    {
        ArgumentNullException.ThrowIfNull(cron);
        var zone = cron.TimeZone;
        var minute = new DateTimeOffset(instant.UtcTicks - (instant.UtcTicks % Minute.Ticks), TimeSpan.Zero);
        var (start, end) = (minute, minute + Minute);
        for (var i = 0; i < MostMinutes && Has(zone, start - Minute); i++)
        {
            start -= Minute;
        }
        for (var i = 0; i < MostMinutes && Has(zone, end); i++)
        {
            end += Minute;
        }
        var times = new List<DateTimeOffset>();
        var next = cron.GetNextValidTimeAfter(start - TimeSpan.FromSeconds(1));
        for (; next is { } time && time < end; next = cron.GetNextValidTimeAfter(time))
        {
            times.Add(time.ToUniversalTime());
        }
        return new RepeatedHour(start, end, [.. times], next?.ToUniversalTime());
    }

    /// <summary>The first due time after an instant that is before <see cref="End"/> and not before the last due time before
    /// <see cref="Start"/>.</summary>
    public DateTimeOffset? Next(DateTimeOffset after)
    {
        var i = Array.BinarySearch(_times, after);
        i = i < 0 ? ~i : i + 1;
        return i < _times.Length ? _times[i] : _following;
    }
}
