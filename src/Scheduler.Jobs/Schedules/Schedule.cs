using System.Collections.Concurrent;
using System.Globalization;
using Quartz;

namespace Scheduler.Jobs.Schedules;

/// <summary>
/// When a trigger is due, computed from its definition alone, so that every replica gets the same times however long it has been up.
/// Thread-safe.
/// </summary>
internal sealed class Schedule
{
    private static readonly TimeSpan ShortestInterval = TimeSpan.FromSeconds(1);
    private static readonly TimeSpan LongestInterval = TimeSpan.FromDays(7);
    private const int MostKept = 10_000;

    // Only what fires in such an hour is kept: its due times take a while to compute, and it is asked about at every fire.
    private static readonly ConcurrentDictionary<(string Cron, TimeZoneInfo Zone), Schedule> InRepeatedHours = new();

    private readonly CronExpression? _cron;
    private readonly TimeSpan _every;

    // The last one that was asked about: a trigger that is due every second is asked thousands of times within it.
    private volatile RepeatedHour? _repeated;

    private Schedule(CronExpression cron)
    {
        _cron = cron;
        var rules = ZoneRules.Text(cron.TimeZone);
        Fingerprint = $"cron {cron.CronExpressionString} in {cron.TimeZone.Id}{(rules.Length == 0 ? "" : $" ({rules})")}";
    }

    private Schedule(TimeSpan every)
    {
        _every = every;
        Fingerprint = string.Create(CultureInfo.InvariantCulture, $"every {every:c}");
    }

    /// <summary>Identifies the definition, with what this host's time-zone data say of its zone: where these differ the times do, and the
    /// definition that State saw first most recently counts, as of any two that differ.</summary>
    public string Fingerprint { get; }

    /// <summary>Reads the schedule of a definition that has been checked.</summary>
    public static Schedule Of(TriggerDefinition definition) =>
        definition.Cron is { } cron ? new Schedule(new CronExpression(cron, definition.TimeZone)) : new Schedule(definition.Every!.Value);

    /// <summary>Reads the schedule of a Quartz trigger.</summary>
    /// <returns>The schedule; or a problem, when the trigger's times differ between replicas; or neither, for a one-shot trigger.</returns>
    public static (Schedule? Schedule, string? Problem) Read(ITrigger trigger)
    {
        if (trigger.CalendarName is { } calendar)
        {
            return (null, $"it uses the calendar '{calendar}', which belongs to one replica; put the exceptions into the cron expression");
        }
        return trigger switch
        {
            ICronTrigger cron => (new Schedule(new CronExpression(cron.CronExpressionString!, cron.TimeZone)), null),
            ISimpleTrigger { RepeatCount: 0 } => (null, null),
            ISimpleTrigger simple => ReadInterval(simple),
            _ => (null, $"it is a {trigger.GetType().Name}; use a cron trigger, or an interval aligned to a grid"),
        };
    }

    /// <summary>Whether <see cref="Read"/> would give a schedule; reads no cron expression, so it may be asked for every fire.</summary>
    public static bool IsSchedule(ITrigger trigger) =>
        trigger.CalendarName is null
        && trigger switch
        {
            ICronTrigger => true,
            ISimpleTrigger { RepeatCount: 0 } => false,
            ISimpleTrigger simple => ReadInterval(simple).Schedule is not null,
            _ => false,
        };

    /// <summary>Says why a text is no cron expression, or <see langword="null"/>.</summary>
    public static string? CronProblem(string cron)
    {
        try
        {
            return new CronExpression(cron).GetNextValidTimeAfter(DateTimeOffset.UnixEpoch) is null ? "it never comes due" : null;
        }
        catch (FormatException e)
        {
            return $"{e.Message} It has six or seven fields: seconds minutes hours day-of-month month day-of-week [year], for "
                + "example '0 0 2 * * ?'.";
        }
    }

    /// <summary>Says why an interval cannot be used, or <see langword="null"/>.</summary>
    public static string? IntervalProblem(TimeSpan every) =>
        every < ShortestInterval || every > LongestInterval || every.Ticks % TimeSpan.TicksPerMillisecond != 0
            ? $"an interval has whole milliseconds and lasts {ShortestInterval} to {LongestInterval}"
            : null;

    /// <summary>The first instant of the grid of an interval that is later than a time.</summary>
    public static DateTimeOffset NextOnGrid(TimeSpan every, DateTimeOffset after)
    {
        var ticks = (after.UtcTicks - DateTimeOffset.UnixEpoch.Ticks) / every.Ticks;
        return DateTimeOffset.UnixEpoch.AddTicks((ticks + 1) * every.Ticks);
    }

    /// <summary>The first due time after a time, or <see langword="null"/> when there is none.</summary>
    /// <remarks>The same whatever instants were asked about before, also in an hour that the zone has twice.</remarks>
    public DateTimeOffset? Next(DateTimeOffset after)
    {
        if (_cron is null)
        {
            return NextOnGrid(_every, after);
        }
        if (RepeatedHour.Has(_cron.TimeZone, after))
        {
            return RepeatedAround(_cron, after).Next(after);
        }
        var next = _cron.GetNextValidTimeAfter(after)?.ToUniversalTime();
        return next is { } time && RepeatedHour.Has(_cron.TimeZone, time) ? RepeatedAround(_cron, time).Next(after) : next;
    }

    /// <summary>
    /// Whether a time at which Quartz fires a trigger is one of its due times. It is, except in the second of two equal hours, where the
    /// trigger of a replica that was started in between may fire once more what was due in the first. Costs nothing elsewhere.
    /// </summary>
    public static bool IsDue(ITrigger trigger, DateTimeOffset time)
    {
        if (trigger is not ICronTrigger cron || !RepeatedHour.Has(cron.TimeZone, time))
        {
            return true;
        }
        if (InRepeatedHours.Count >= MostKept)
        {
            InRepeatedHours.Clear();
        }
        var schedule = InRepeatedHours.GetOrAdd(
            (cron.CronExpressionString!, cron.TimeZone),
            static key => new Schedule(new CronExpression(key.Cron, key.Zone))
        );
        return schedule.Next(time - TimeSpan.FromMilliseconds(1)) == time;
    }

    private RepeatedHour RepeatedAround(CronExpression cron, DateTimeOffset instant)
    {
        if (_repeated is { } known && instant >= known.Start && instant < known.End)
        {
            return known;
        }
        return _repeated = RepeatedHour.Around(cron, instant);
    }

    /// <summary>The due times with <paramref name="after"/> &lt; time ≤ <paramref name="until"/>, in order; the newest ones if there are
    /// too many.</summary>
    /// <param name="after">The exclusive lower bound.</param>
    /// <param name="until">The inclusive upper bound.</param>
    /// <param name="limit">How many at most.</param>
    /// <returns>The times, and whether earlier ones were left out.</returns>
    /// <remarks>Looks back from the end in windows that double, so a gap of months under an every-second trigger costs no more than a
    /// short one.</remarks>
    public (List<DateTimeOffset> Due, bool LeftOut) Between(DateTimeOffset after, DateTimeOffset until, int limit)
    {
        // By far the most common answer, and the windows below would ask the expression for each of them.
        if (Next(after) is not { } first || first > until)
        {
            return ([], false);
        }
        var window = TimeSpan.FromSeconds(1);
        while (true)
        {
            var reachesStart = until - after <= window;
            var start = reachesStart ? after : until - window;
            var due = new List<DateTimeOffset>();
            for (var next = Next(start); next is { } time && time <= until; next = Next(time))
            {
                due.Add(time);
            }
            if (due.Count > limit)
            {
                return (due[^limit..], true);
            }
            if (reachesStart)
            {
                return (due, false);
            }
            window *= 2;
        }
    }

    private static (Schedule? Schedule, string? Problem) ReadInterval(ISimpleTrigger trigger)
    {
        if (trigger.RepeatCount >= 0)
        {
            return (null, $"it repeats {trigger.RepeatCount} times from its start; a schedule of a group repeats for ever");
        }
        if (IntervalProblem(trigger.RepeatInterval) is { } problem)
        {
            return (null, problem);
        }
        return (trigger.StartTimeUtc.UtcTicks - DateTimeOffset.UnixEpoch.Ticks) % trigger.RepeatInterval.Ticks == 0
            ? (new Schedule(trigger.RepeatInterval), null)
            : (
                null,
                $"its interval of {trigger.RepeatInterval} starts at {trigger.StartTimeUtc:O}, which is not on the grid of "
                    + "whole intervals since 1970-01-01 UTC, "
                    + "so replicas would fire at different times; use a cron trigger or StartAt a time on the grid"
            );
    }
}
