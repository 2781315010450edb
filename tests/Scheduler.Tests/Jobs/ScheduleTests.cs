using FsCheck;
using FsCheck.Fluent;
using Quartz;
using Scheduler.Jobs;
using Scheduler.Jobs.Schedules;

namespace Scheduler.Tests.Jobs;

public sealed class ScheduleTests
{
    private static readonly DateTimeOffset Start = new(2026, 1, 31, 12, 0, 0, TimeSpan.Zero);

    [Fact]
    public void AnIntervalIsDueOnTheGridSince1970WhateverTheReplicasStart() =>
        Prop.ForAll<PositiveInt, PositiveInt>(
                (seconds, offset) =>
                {
                    var every = TimeSpan.FromSeconds(1 + (seconds.Get % 1_000));
                    var after = Start.AddMilliseconds(offset.Get);
                    var next = Schedule.NextOnGrid(every, after);
                    return next > after && next - after <= every && next.ToUnixTimeMilliseconds() % (long)every.TotalMilliseconds == 0;
                }
            )
            .QuickCheckThrowOnFailure();

    [Fact]
    public void BetweenGivesEveryDueTimeOnceInOrder()
    {
        var schedule = Every(TimeSpan.FromSeconds(1));

        var (due, leftOut) = schedule.Between(Start, Start.AddSeconds(90), 1_000);

        Assert.False(leftOut);
        Assert.Equal(Enumerable.Range(1, 90).Select(s => Start.AddSeconds(s)), due);
    }

    [Fact]
    public void BetweenOfALongGapGivesTheNewestAndSaysSo()
    {
        var schedule = Cron("* * * * * ?");
        var until = Start.AddYears(1);

        var (due, leftOut) = schedule.Between(Start, until, 1_000);

        Assert.True(leftOut);
        Assert.Equal(1_000, due.Count);
        Assert.Equal(until, due[^1]);
        Assert.Equal(until.AddSeconds(-999), due[0]);
    }

    [Fact]
    public void BetweenOfASparseScheduleReachesBackToTheStart()
    {
        var (due, leftOut) = Cron("0 0 2 1 * ?").Between(Start, Start.AddYears(1), 1_000);

        Assert.False(leftOut);
        Assert.Equal(12, due.Count);
    }

    [Fact]
    public void ACronTriggerAndItsDefinitionAreTheSameSchedule()
    {
        var zone = TimeZoneInfo.Utc;
        var trigger = TriggerBuilder.Create().WithSchedule(CronScheduleBuilder.Create("0 0 2 * * ?").InTimeZone(zone)).Build();

        Assert.Equal(Cron("0 0 2 * * ?").Fingerprint, Schedule.Read(trigger).Schedule!.Fingerprint);
    }

    [Fact]
    public void AnIntervalOffTheGridIsRefusedWithTheReason()
    {
        var trigger = TriggerBuilder
            .Create()
            .StartAt(Start.AddMilliseconds(123))
            .WithSchedule(SimpleScheduleBuilder.Create().WithInterval(TimeSpan.FromSeconds(5)).RepeatForever())
            .Build();

        var (schedule, problem) = Schedule.Read(trigger);

        Assert.Null(schedule);
        Assert.Contains("not on the grid", problem);
    }

    [Fact]
    public void AOneShotTriggerIsNoScheduleAndNoProblem()
    {
        var trigger = TriggerBuilder.Create().StartAt(Start).WithSchedule(SimpleScheduleBuilder.Create()).Build();

        Assert.Equal((null, null), Schedule.Read(trigger));
    }

    [Theory]
    [InlineData("not cron")]
    [InlineData("0 0 2 * *")]
    [InlineData("0 0 2 30 2 ? 2020")]
    public void ACronThatCannotComeDueIsRefused(string cron) => Assert.NotNull(Schedule.CronProblem(cron));

    private static Schedule Every(TimeSpan every) =>
        Schedule.Of(new TriggerDefinition("t", null, every, TimeZoneInfo.Utc, new Dictionary<string, string>()));

    private static Schedule Cron(string cron) =>
        Schedule.Of(new TriggerDefinition("t", cron, null, TimeZoneInfo.Utc, new Dictionary<string, string>()));
}
