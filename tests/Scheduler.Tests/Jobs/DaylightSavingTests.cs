using Quartz;
using Scheduler.Jobs.Schedules;

namespace Scheduler.Tests.Jobs;

/// <summary>Due times over both changes of the clock: what they are, and that they are the same for every replica.</summary>
public sealed class DaylightSavingTests
{
    private static readonly string[] Crons =
    [
        "0 30 2 * * ?",
        "0 0/15 * * * ?",
        "0 0 1-3 * * ?",
        "0 59 1 * * ?",
        "0 30 1 * * ?",
        "0 15 2,3 * * ?",
        "0 15 1,2,3 * * ?",
        "0 0/15 2 * * ?",
        "0 0 0/2 * * ?",
        "30 0/20 1-2 * * ?",
        "0 10,50 1,2 ? * SUN",
        "0/20 * * * * ?",
    ];

    // Two hours before the change, in UTC.
    private static readonly (string Zone, DateTimeOffset Before)[] Changes =
    [
        ("Europe/Berlin", Utc(2026, 3, 28, 23, 0)),
        ("Europe/Berlin", Utc(2026, 10, 24, 23, 0)),
        ("America/New_York", Utc(2026, 3, 8, 5, 0)),
        ("America/New_York", Utc(2026, 11, 1, 4, 0)),
        ("Australia/Lord_Howe", Utc(2026, 10, 3, 13, 30)),
        ("Australia/Lord_Howe", Utc(2026, 4, 4, 13, 0)),
    ];

    private static readonly TimeSpan Night = TimeSpan.FromHours(6);

    [Theory]
    // The hour from 2 to 3 does not exist: at 3:00 +02:00 what was due in it.
    [InlineData("0 30 2 * * ?", 1, "03:00+02")]
    [InlineData("0 0/15 2 * * ?", 1, "03:00+02")]
    [InlineData("0 0/20 1-3 * * ?", 1, "01:00+01 01:20+01 01:40+01 03:00+02 03:20+02 03:40+02")]
    [InlineData("0 0 1-3 * * ?", 1, "01:00+01 03:00+02")]
    [InlineData("0 15 2,3 * * ?", 1, "03:00+02 03:15+02")]
    [InlineData("0 59 1 * * ?", 1, "01:59+01")]
    // The hour from 2 to 3 is there twice.
    [InlineData("0 30 2 * * ?", 2, "02:30+02")]
    [InlineData("0 15 2,3 * * ?", 2, "02:15+02 03:15+01")]
    [InlineData("0 0/30 2 * * ?", 2, "02:00+02 02:30+02 02:00+01 02:30+01")]
    [InlineData("0 0 1-3 * * ?", 2, "01:00+02 02:00+02 02:00+01 03:00+01")]
    [InlineData("0 59 1 * * ?", 2, "01:59+02")]
    public void These_are_due_in_Berlin(string cron, int change, string expected)
    {
        var zone = TimeZoneInfo.FindSystemTimeZoneById("Europe/Berlin");
        var before = Changes[change - 1].Before;
        var due = Of(cron, zone).Between(before.AddMinutes(-1), before.AddHours(4), 1_000).Due;
        Assert.Equal(expected, string.Join(' ', due.Select(d => $"{TimeZoneInfo.ConvertTime(d, zone):HH:mmzz}")));
    }

    [Fact]
    public void Whenever_a_replica_asks_it_gets_the_same_times()
    {
        foreach (var (id, before) in Changes)
        {
            var zone = TimeZoneInfo.FindSystemTimeZoneById(id);
            foreach (var cron in Crons)
            {
                var all = Of(cron, zone).Between(before, before + Night, 100_000).Due;
                Assert.True(all.Count >= (cron.EndsWith("SUN", StringComparison.Ordinal) ? 0 : 1), $"{cron} in {id}");
                for (var start = before; start < before + Night; start += TimeSpan.FromSeconds(293.25))
                {
                    // A schedule of its own, as in a replica that was started then.
                    var next = Of(cron, zone).Next(start);
                    var expected = all.Find(d => d > start);
                    Assert.True(expected == default || expected == next, $"{cron} in {id} after {start:O}: {next:O}, not {expected:O}");
                }
            }
        }
    }

    [Fact]
    public void What_a_trigger_fires_that_was_started_before_is_what_is_due()
    {
        foreach (var (id, before) in Changes)
        {
            foreach (var cron in Crons)
            {
                var trigger = Trigger(cron, id, before);
                var fires = Fires(trigger, before + Night);
                Assert.Equal(Schedule.Read(trigger).Schedule!.Between(before, before + Night, 100_000).Due, fires.Where(f => f > before));
                Assert.All(fires, f => Assert.True(Schedule.IsDue(trigger, f)));
            }
        }
    }

    [Fact]
    public void What_a_trigger_fires_too_much_that_was_started_in_the_repeated_hour_is_told_from_what_is_due()
    {
        var tooMuch = 0;
        foreach (var (id, before) in Changes)
        {
            foreach (var cron in Crons)
            {
                for (var start = before; start < before + TimeSpan.FromHours(3.5); start += TimeSpan.FromMinutes(13))
                {
                    var trigger = Trigger(cron, id, start);
                    var fires = Fires(trigger, before + Night).Where(f => f > start).ToList();
                    var due = Schedule.Read(trigger).Schedule!.Between(start, before + Night, 100_000).Due;
                    Assert.Empty(due.Except(fires));
                    Assert.Equal(due, fires.Where(f => Schedule.IsDue(trigger, f)));
                    tooMuch += fires.Count - due.Count;
                }
            }
        }
        Assert.NotEqual(0, tooMuch);
    }

    [Fact]
    public void Different_rules_of_a_zone_make_different_definitions()
    {
        var berlin = TimeZoneInfo.FindSystemTimeZoneById("Europe/Berlin");
        // What a host has whose time-zone data are of a time before daylight saving, or after its end.
        var other = TimeZoneInfo.CreateCustomTimeZone(berlin.Id, TimeSpan.FromHours(1), berlin.DisplayName, berlin.StandardName);
        var abolished = Until(berlin, 2030);

        Assert.NotEqual(Of("0 0 2 * * ?", berlin).Fingerprint, Of("0 0 2 * * ?", other).Fingerprint);
        Assert.NotEqual(Of("0 0 2 * * ?", berlin).Fingerprint, Of("0 0 2 * * ?", abolished).Fingerprint);
        // By what they say, not by which object or which database says it.
        Assert.Equal(Of("0 0 2 * * ?", berlin).Fingerprint, Of("0 0 2 * * ?", Until(berlin, 9999)).Fingerprint);
        Assert.Equal("cron 0 0 2 * * ? in UTC", Of("0 0 2 * * ?", TimeZoneInfo.Utc).Fingerprint);

        static TimeZoneInfo Until(TimeZoneInfo zone, int lastYear)
        {
            var march = TimeZoneInfo.TransitionTime.CreateFloatingDateRule(new DateTime(1, 1, 1, 2, 0, 0), 3, 5, DayOfWeek.Sunday);
            var october = TimeZoneInfo.TransitionTime.CreateFloatingDateRule(new DateTime(1, 1, 1, 3, 0, 0), 10, 5, DayOfWeek.Sunday);
            var rule = TimeZoneInfo.AdjustmentRule.CreateAdjustmentRule(
                new DateTime(2000, 1, 1),
                lastYear == 9999 ? DateTime.MaxValue.Date : new DateTime(lastYear, 12, 31),
                TimeSpan.FromHours(1),
                march,
                october
            );
            return TimeZoneInfo.CreateCustomTimeZone(zone.Id, TimeSpan.FromHours(1), "", "", "", [rule]);
        }
    }

    private static DateTimeOffset Utc(int year, int month, int day, int hour, int minute) =>
        new(year, month, day, hour, minute, 0, TimeSpan.Zero);

    private static ICronTrigger Trigger(string cron, string zone, DateTimeOffset start) =>
        (ICronTrigger)
            TriggerBuilder
                .Create()
                .ForJob("job")
                .StartAt(start)
                .WithSchedule(CronScheduleBuilder.Create(cron).InTimeZone(TimeZoneInfo.FindSystemTimeZoneById(zone)))
                .Build();

    private static Schedule Of(string cron, TimeZoneInfo zone) =>
        Schedule.Read(TriggerBuilder.Create().WithSchedule(CronScheduleBuilder.Create(cron).InTimeZone(zone)).Build()).Schedule!;

    // As Quartz does: each from the one before, the first from the start.
    private static List<DateTimeOffset> Fires(ICronTrigger trigger, DateTimeOffset until)
    {
        var fires = new List<DateTimeOffset>();
        for (
            var next = trigger.GetFireTimeAfter(trigger.StartTimeUtc.AddSeconds(-1));
            next is { } time && time <= until;
            next = trigger.GetFireTimeAfter(time)
        )
        {
            fires.Add(time);
        }
        return fires;
    }
}
