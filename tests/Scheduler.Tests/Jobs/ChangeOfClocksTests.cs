using Quartz;
using Scheduler.Testing;

namespace Scheduler.Tests.Jobs;

/// <summary>Replicas that live through a change of the clock of their schedules' zone, each started at another time of it.</summary>
public sealed class ChangeOfClocksTests
{
    private static readonly DateTimeOffset First = new(2026, 10, 25, 0, 59, 0, TimeSpan.Zero);
    private static readonly DateTimeOffset Second = First.AddHours(1);
    private static readonly DateTimeOffset Gap = new(2026, 3, 29, 1, 0, 0, TimeSpan.Zero);

    [Fact]
    public async Task In_the_hour_that_is_there_twice_each_occurrence_runs_once_whenever_a_replica_was_started()
    {
        using var group = new Group(withState: true);
        await using var before = await Replica.StartAsync(group, Jobs, skew: Until(First.AddSeconds(-2)));
        await Eventually.Holds(() => Of(group, "once").Count == 1 && Of(group, "twice").Count == 1);

        // Almost an hour passes; what was due in them is made up for.
        before.Time.Offset += TimeSpan.FromMinutes(59) + TimeSpan.FromSeconds(54);
        await using var inside = await Replica.StartAsync(group, Jobs, skew: before.Time.Offset);
        await Eventually.Holds(() => Of(group, "twice").Contains(Second.AddSeconds(10)), TimeSpan.FromSeconds(40));

        Assert.Equal([First], Of(group, "once"));
        Assert.Equal(
            [.. Enumerable.Range(0, 6).Select(i => First.AddSeconds(10 * i)), Second, Second.AddSeconds(10)],
            Of(group, "twice").Order()
        );
        // Quartz would have run it once more on the replica that was started inside.
        Assert.Contains(inside.Fires.Skips, s => s.Summary?.Contains("first of two equal hours", StringComparison.Ordinal) == true);
    }

    [Fact]
    public async Task What_was_due_in_the_hour_that_is_not_there_runs_once_at_its_end()
    {
        using var group = new Group(withState: true);
        await using var one = await Replica.StartAsync(group, InTheGap, skew: Until(Gap.AddSeconds(-3)));
        await using var two = await Replica.StartAsync(group, InTheGap, skew: one.Time.Offset + TimeSpan.FromMilliseconds(300));
        await Eventually.Holds(() => one.Fires.Ended.Count + two.Fires.Ended.Count == 2);
        await using var late = await Replica.StartAsync(group, InTheGap, skew: one.Time.Offset);
        await Eventually.Holds(() => late.Sees(one) && one.Time.GetUtcNow() > Gap.AddSeconds(5));

        Assert.Equal([Gap], Of(group, "once"));
        Assert.Single(await one.RunsAsync());
    }

    // Two hours, so that Quartz finds it in the second of the equal hours again.
    private static void Jobs(IQuartzBuilder quartz)
    {
        Add(quartz, "once", "0 59 2,4 * * ?");
        Add(quartz, "twice", "0/10 59 * * * ?");
    }

    private static void InTheGap(IQuartzBuilder quartz) => Add(quartz, "once", "0 30 2 * * ?");

    private static void Add(IQuartzBuilder quartz, string name, string cron) =>
        quartz.ScheduleJob<PlainJob>(
            t =>
                t.WithIdentity(name)
                    .WithSchedule(CronScheduleBuilder.Create(cron).InTimeZone(TimeZoneInfo.FindSystemTimeZoneById("Europe/Berlin"))),
            j => j.WithIdentity(name)
        );

    private static TimeSpan Until(DateTimeOffset time) => time - TimeProvider.System.GetUtcNow();

    private static IReadOnlyList<DateTimeOffset> Of(Group group, string job) =>
        [.. group.Bodies.Ended.Where(e => e.Run!.Occurrence.Job == job).Select(e => e.Scheduled!.Value)];
}
