using FsCheck;
using FsCheck.Fluent;
using Quartz;
using Scheduler.Jobs.Schedules;

namespace Scheduler.Tests.Jobs;

/// <summary>What the reconciler expects is what Quartz fires: random expressions in zones with every kind of change of the clock.</summary>
public sealed class ScheduleAgainstQuartzTests
{
    private static readonly string[] Zones =
    [
        "UTC",
        "Europe/Berlin",
        "America/New_York",
        "Australia/Lord_Howe", // half an hour of daylight saving
        "Asia/Kathmandu",
        "America/Santiago", // midnight does not exist once a year
        "Pacific/Apia",
    ];

    // Days around the changes of 2026 in those zones, and an ordinary one.
    private static readonly DateTimeOffset[] Starts =
    [
        new(2026, 3, 28, 0, 0, 0, TimeSpan.Zero),
        new(2026, 10, 24, 0, 0, 0, TimeSpan.Zero),
        new(2026, 3, 7, 0, 0, 0, TimeSpan.Zero),
        new(2026, 10, 31, 0, 0, 0, TimeSpan.Zero),
        new(2026, 4, 3, 0, 0, 0, TimeSpan.Zero),
        new(2026, 9, 4, 0, 0, 0, TimeSpan.Zero),
        new(2026, 6, 15, 0, 0, 0, TimeSpan.Zero),
    ];

    private static readonly Gen<string> Crons =
        from second in Gen.Elements("0", "30", "0/20")
        from minute in Gen.Elements("0", "15", "0/10", "59")
        from hour in Gen.Elements("*", "0", "1", "2", "3", "0/2", "1-3", "23")
        from day in Gen.Elements("* * ?", "? * SUN", "? * *", "L * ?", "1 * ?")
        select $"{second} {minute} {hour} {day}";

    [Fact]
    public void DueTimesAreThoseThatATriggerOfQuartzFires() =>
        Prop.ForAll(
                Arb.From(
                    from cron in Crons
                    from zone in Gen.Elements(Zones)
                    from start in Gen.Elements(Starts)
                    from seconds in Gen.Choose(0, 86_400)
                    select (cron, zone, start.AddSeconds(seconds))
                ),
                ((string Cron, string Zone, DateTimeOffset Start) sample) =>
                {
                    var trigger = TriggerBuilder
                        .Create()
                        .StartAt(sample.Start)
                        .WithSchedule(CronScheduleBuilder.Create(sample.Cron).InTimeZone(TimeZoneInfo.FindSystemTimeZoneById(sample.Zone)))
                        .Build();
                    var until = sample.Start.AddDays(2);
                    var (due, _) = Schedule.Read(trigger).Schedule!.Between(sample.Start, until, 10_000);
                    Assert.Equal(Fires(trigger, sample.Start, until), due);
                }
            )
            .QuickCheckThrowOnFailure();

    [Fact]
    public void LookingBackInWindowsMissesNothing() =>
        Prop.ForAll(
                Arb.From(
                    from cron in Crons
                    from zone in Gen.Elements(Zones)
                    from start in Gen.Elements(Starts)
                    from limit in Gen.Choose(1, 50)
                    select (cron, zone, start, limit)
                ),
                ((string Cron, string Zone, DateTimeOffset Start, int Limit) sample) =>
                {
                    var zone = TimeZoneInfo.FindSystemTimeZoneById(sample.Zone);
                    var trigger = TriggerBuilder.Create().WithSchedule(CronScheduleBuilder.Create(sample.Cron).InTimeZone(zone)).Build();
                    var schedule = Schedule.Read(trigger).Schedule!;
                    var until = sample.Start.AddDays(2);
                    var all = schedule.Between(sample.Start, until, 100_000).Due;
                    var (newest, leftOut) = schedule.Between(sample.Start, until, sample.Limit);
                    Assert.Equal(all.Count > sample.Limit, leftOut);
                    Assert.Equal(all.TakeLast(sample.Limit), newest);
                }
            )
            .QuickCheckThrowOnFailure();

    [Fact]
    public void AnIntervalOfQuartzFiresOnTheGrid() =>
        Prop.ForAll<PositiveInt>(seconds =>
            {
                var every = TimeSpan.FromSeconds(1 + (seconds.Get % 100));
                var start = Schedule.NextOnGrid(every, Starts[0]);
                var trigger = TriggerBuilder
                    .Create()
                    .StartAt(start)
                    .WithSchedule(SimpleScheduleBuilder.Create().WithInterval(every).RepeatForever())
                    .Build();
                var until = start.AddMinutes(20);
                Assert.Equal(
                    Fires(trigger, start.AddTicks(-1), until),
                    Schedule.Read(trigger).Schedule!.Between(start.AddTicks(-1), until, 10_000).Due
                );
            })
            .QuickCheckThrowOnFailure();

    private static List<DateTimeOffset> Fires(ITrigger trigger, DateTimeOffset after, DateTimeOffset until)
    {
        var fires = new List<DateTimeOffset>();
        for (var next = trigger.GetFireTimeAfter(after); next is { } time && time <= until; next = trigger.GetFireTimeAfter(time))
        {
            fires.Add(time);
        }
        return fires;
    }
}
