using Quartz;
using Scheduler.Runs;
using Scheduler.Testing;

namespace Scheduler.Tests.Jobs;

/// <summary>A replica whose wall clock is set while jobs run every second, beside one whose clock is right.</summary>
public sealed class ClockLeapTests
{
    private static readonly TimeSpan Hour = TimeSpan.FromHours(1);

    [Theory]
    [InlineData(1, false)]
    [InlineData(-1, false)]
    [InlineData(1, true)]
    [InlineData(-1, true)]
    public async Task Nothing_is_doubled_or_missed_and_the_replica_takes_part_again(int hours, bool onPostgres)
    {
        await using var group = await Group.WithStateAsync(onPostgres);
        await LeapAsync(group, hours * Hour);
    }

    [Fact]
    public async Task A_body_goes_on_when_the_clock_is_set_and_its_end_is_as_long_after_its_begin_as_it_took()
    {
        using var group = new Group(withState: true);
        var (entered, leave) = (new TaskCompletionSource(), new TaskCompletionSource());
        group.Bodies.Body = async (_, token) =>
        {
            entered.TrySetResult();
            await leave.Task.WaitAsync(token);
        };
        await using var replica = await Replica.StartAsync(group, Ledger.Durable<PlainJob>);
        await using var other = await Replica.StartAsync(group);
        await (await replica.SchedulerAsync()).TriggerJob(new JobKey(nameof(PlainJob)));
        await entered.Task.WaitAsync(Eventually.DefaultBound);
        await Eventually.Holds(() => replica.Sees(other));

        replica.Time.Offset = Hour;
        await Eventually.Holds(() => !replica.Status.IsReady);
        leave.SetResult();

        await Eventually.Holds(async () => (await other.RunsAsync()).Single().State == RunState.Succeeded);
        var run = Assert.Single(await other.RunsAsync());
        Assert.InRange(run.FinishedAt!.Value - run.StartedAt!.Value, TimeSpan.Zero, TimeSpan.FromMinutes(1));
    }

    [Fact]
    public async Task A_replica_that_is_alone_with_a_clock_that_is_set_back_goes_on_by_it()
    {
        using var group = new Group(withState: true);
        await using var replica = await Replica.StartAsync(group, Ledger.EverySecond<PlainJob>, skew: Hour);
        await Eventually.Holds(() => group.Bodies.Ended.Count >= 2);

        replica.Time.Offset = TimeSpan.Zero;

        var back = TimeProvider.System.GetUtcNow();
        await Eventually.Holds(() => group.Bodies.Ended.Count(e => e.Scheduled < back + TimeSpan.FromMinutes(1)) >= 3);
    }

    [Fact]
    public async Task What_a_person_asks_of_a_replica_whose_clock_is_off_runs_on_another()
    {
        using var group = new Group(withState: true);
        await using var right = await Replica.StartAsync(group, Ledger.Durable<PlainJob>);
        await using var off = await Replica.StartAsync(group, Ledger.Durable<PlainJob>, skew: Hour);
        Assert.Contains("its wall clock is 3600.0 s ahead of the clock of replica", Assert.Single(off.Status.NotReadyReasons));

        await (await off.SchedulerAsync()).TriggerJob(new JobKey(nameof(PlainJob)));

        await Eventually.Holds(async () => (await right.RunsAsync()).Any(r => r.State == RunState.Succeeded));
        Assert.Equal(right.Id, Assert.Single(await right.RunsAsync()).Replica);
    }

    private static async Task LeapAsync(Group group, TimeSpan leap)
    {
        await using var right = await Replica.StartAsync(group, Ledger.EverySecond<PlainJob>);
        await using var wrong = await Replica.StartAsync(
            group,
            q =>
            {
                Ledger.EverySecond<PlainJob>(q);
                q.ScheduleJob<EverywhereJob>(t =>
                    t.WithIdentity("everywhere").WithSchedule(CronScheduleBuilder.Create("* * * * * ?").InTimeZone(TimeZoneInfo.Utc))
                );
            }
        );
        await Eventually.Holds(async () => (await OfAsync(wrong)).Any() && (await OfAsync(right)).Any());
        await Eventually.Holds(() => wrong.Sees(right));

        wrong.Time.Offset = leap;
        await Eventually.Holds(() => group.Log.Entries.Any(e => e.Id.Id == 3024));
        Assert.Contains($"s {(leap > TimeSpan.Zero ? "ahead of" : "behind")}", Assert.Single(wrong.Status.NotReadyReasons));
        Assert.True(right.Status.IsReady);
        // Long enough for heartbeats of both.
        var ticks = group.Bodies.Ended.Count;
        await Eventually.Holds(() => Locked(group).Count >= ticks + 5);
        var during = TimeProvider.System.GetUtcNow().AddSeconds(-3);
        Assert.DoesNotContain(await OfAsync(wrong), r => r.ScheduledAt > during);
        var status = (await right.State!.CallAsync((s, t) => s.Members.ListAsync(Hour, t), CancellationToken.None)).Items;
        Assert.Equal("clockOff", status.Single(m => m.Id == wrong.Id).Status);

        wrong.Time.Offset = TimeSpan.Zero;
        var back = TimeProvider.System.GetUtcNow();
        await Eventually.Holds(() => wrong.Status.IsReady && group.Log.Entries.Any(e => e.Id.Id == 3025));
        await Eventually.Holds(async () => (await OfAsync(wrong)).Any(r => r.ScheduledAt > back));
        await Eventually.Holds(() =>
            group.Bodies.Ended.Any(e => e.Run is null && e.Scheduled > back && e.Scheduled < back + TimeSpan.FromMinutes(1))
        );

        var ran = Locked(group).Order().ToList();
        Assert.Equal(Enumerable.Range(0, ran.Count).Select(i => ran[0].AddSeconds(i)), ran);
        Assert.All(await right.RunsAsync(), r => Assert.True(r.ScheduledAt <= TimeProvider.System.GetUtcNow(), $"{r} came early"));
        Assert.DoesNotContain(await right.RunsAsync(), r => r.State == RunState.Overlapped);
        Assert.Single(group.Log.Entries, e => e.Id.Id == 3024);
        Assert.Single(group.Log.Entries, e => e.Id.Id == 3025);
    }

    private static List<DateTimeOffset> Locked(Group group) =>
        [.. group.Bodies.Ended.Where(e => e.Run is not null).Select(e => e.Scheduled!.Value)];

    private static async Task<IEnumerable<RunRecord>> OfAsync(Replica replica) =>
        (await replica.RunsAsync()).Where(r => r.Replica == replica.Id);
}
