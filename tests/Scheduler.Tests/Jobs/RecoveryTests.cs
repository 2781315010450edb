using Quartz;
using Scheduler.Jobs;
using Scheduler.Runs;
using Scheduler.Testing;

namespace Scheduler.Tests.Jobs;

/// <summary>Take-over and catch-up when something is in the way: what cannot be started now is tried again and stops nothing
/// else.</summary>
public sealed class RecoveryTests
{
    private const string Plain = nameof(PlainJob);

    [Fact]
    public async Task ALaunchedRunWhoseJobCannotBeConstructedIsTriedAgainAndLeavesNoTriggerBehind()
    {
        using var group = new Group(withState: true);
        group.Bodies.FailingConstructions = 2;
        await using var replica = await Replica.StartAsync(group, Ledger.Durable<BrittleJob>);

        var run = await replica.ClaimAsDeadAsync(nameof(BrittleJob));

        await Eventually.Holds(async () => await replica.StateOfAsync(run) == RunState.Succeeded);
        await Eventually.Holds(async () => await TriggersAsync(replica) == 0);
        Assert.Equal(1, (await replica.FindAsync(run.Id)).Run.Crashes);
    }

    [Fact]
    public async Task AScheduleWhoseJobCouldNotBeConstructedFiresAgain()
    {
        using var group = new Group(withState: true);
        group.Bodies.FailingConstructions = 1;
        await using var replica = await Replica.StartAsync(group, Ledger.EverySecond<BrittleJob>);
        var scheduler = await replica.SchedulerAsync();

        await Eventually.Holds(() => group.Bodies.FailingConstructions < 0);
        await Eventually.Holds(async () => await scheduler.GetTriggerState(new TriggerKey("every-second")) == TriggerState.Normal);
        await Eventually.Holds(() => group.Bodies.Ended.Count >= 3);
    }

    [Fact]
    public async Task ARunThatCannotBeStartedStopsNoOther()
    {
        using var group = new Group(withState: true);
        await using var replica = await Replica.StartAsync(
            group,
            q =>
            {
                Ledger.Durable<PlainJob>(q);
                Ledger.Durable<EverywhereJob>(q);
                q.AddJob<PlainJob>(c => c.WithIdentity("gone").StoreDurably());
            }
        );
        await (await replica.SchedulerAsync()).DeleteJob(new JobKey("gone"));

        var deleted = await replica.ClaimAsDeadAsync("gone", DateTimeOffset.FromUnixTimeSeconds(1_600_000_000));
        var garbled = await replica.ClaimAsDeadAsync(Plain, DateTimeOffset.FromUnixTimeSeconds(1_600_000_000), data: "[1]", key: "garbled");
        var good = await replica.ClaimAsDeadAsync(Plain);

        await Eventually.Holds(async () => await replica.StateOfAsync(good) == RunState.Succeeded);
        Assert.Equal(RunState.Running, await replica.StateOfAsync(deleted));
        Assert.Equal(RunState.Running, await replica.StateOfAsync(garbled));
    }

    [Fact]
    public async Task AJobThatQuartzGotAfterTheStartIsTakenOverBeforeItsFirstFireHere()
    {
        using var group = new Group(withState: true);
        await using var replica = await Replica.StartAsync(group);
        var scheduler = await replica.SchedulerAsync();
        await scheduler.AddJob(JobBuilder.Create<PlainJob>().WithIdentity("late", "nightly").StoreDurably().Build());

        var run = await replica.ClaimAsDeadAsync("nightly.late");

        await Eventually.Holds(async () => await replica.StateOfAsync(run) == RunState.Succeeded);
    }

    [Fact]
    public async Task ARunThatCanNeverBeClaimedIsAskedForNowAndThenOnly()
    {
        using var group = new Group(withState: true);
        await using var replica = await Replica.StartAsync(group, Ledger.Durable<PlainJob>);
        // A fence far ahead of the lock store: every claim is stale.
        await replica.ClaimAsDeadAsync(Plain, token: (1L << 53) - 1);

        await Eventually.Holds(() => Launches(replica) >= 1);
        var watch = System.Diagnostics.Stopwatch.StartNew();
        await Eventually.Holds(() => watch.Elapsed > TimeSpan.FromSeconds(2));

        Assert.InRange(Launches(replica), 1, 12);
        Assert.Empty(group.Bodies.Events);
    }

    [Fact]
    public async Task ThreeReplicasTakeTwentyDeadRunsOverExactlyOnceEach()
    {
        using var group = new Group(withState: true);
        await using var one = await Replica.StartAsync(group, Ledger.Durable<PlainJob>);
        await using var two = await Replica.StartAsync(group, Ledger.Durable<PlainJob>);
        await using var three = await Replica.StartAsync(group, Ledger.Durable<PlainJob>);

        var dead = new List<RunRecord>();
        for (var i = 0; i < 20; i++)
        {
            dead.Add(await one.ClaimAsDeadAsync(Plain, DateTimeOffset.FromUnixTimeSeconds(1_700_000_000 + i), key: $"dead:{i}"));
        }

        await Eventually.Holds(async () => (await one.RunsAsync()).All(r => r.State == RunState.Succeeded));
        Assert.All(await one.RunsAsync(), r => Assert.Equal((2, 1), (r.Attempt, r.Crashes)));
        Assert.Equal(
            dead.Select(d => d.Id).Order(StringComparer.Ordinal),
            group.Bodies.Ended.Select(e => e.Run!.Id).Order(StringComparer.Ordinal)
        );
    }

    [Fact]
    public async Task ARunThatIsLeftAfterACrashIsDeadAndNeverRunsAgain()
    {
        using var group = new Group(withState: true);
        await using var replica = await Replica.StartAsync(
            group,
            configure: l => l.AddJob(new JobDefinition("left", typeof(PlainJob), []) { OnCrash = OnCrash.Leave })
        );

        var run = await replica.ClaimAsDeadAsync("left");

        await Eventually.Holds(async () => await replica.StateOfAsync(run) == RunState.Dead);
        Assert.Empty(group.Bodies.Events);
    }

    [Fact]
    public async Task AReplicaThatIsThirtySecondsBehindDoublesNothing()
    {
        using var group = new Group(withState: true);
        await using var one = await Replica.StartAsync(group, Ledger.EverySecond<PlainJob>);
        await Eventually.Holds(() => group.Bodies.Ended.Count >= 2);
        await using var two = await Replica.StartAsync(group, Ledger.EverySecond<PlainJob>, skew: TimeSpan.FromSeconds(-30));
        await Eventually.Holds(() => group.Bodies.Ended.Count >= 5);

        // It wakes up: for Quartz thirty seconds have passed at once.
        two.Time.Offset = TimeSpan.Zero;
        await Eventually.Holds(() => group.Bodies.Ended.Count >= 9);

        var since = group.Bodies.Ended[0].Scheduled!.Value;
        var ticks = group.Bodies.Ended.Select(e => e.Scheduled!.Value).Where(t => t >= since).ToList();
        Assert.Equal(ticks.Distinct().Count(), ticks.Count);
        Assert.All(await one.RunsAsync(), r => Assert.Equal(0, r.Crashes));
    }

    [Fact]
    public async Task TwoGroupsOnOneStateAndOneLockServerNeverTouchEachOther()
    {
        using var red = new Group(withState: true, "red");
        using var blue = new Group(withState: true, "blue", beside: red);
        await using var one = await Replica.StartAsync(red, Ledger.EverySecond<PlainJob>);
        await using var two = await Replica.StartAsync(blue, Ledger.EverySecond<PlainJob>);

        await Eventually.Holds(() => red.Bodies.Ended.Count >= 4 && blue.Bodies.Ended.Count >= 4);

        var both = red.Bodies.Ended.Select(e => e.Scheduled).Intersect(blue.Bodies.Ended.Select(e => e.Scheduled));
        Assert.True(both.Count() >= 3, "each group runs every tick, whatever the other does");
        Assert.Empty(
            (await one.RunsAsync()).Select(r => r.Id).Intersect((await two.RunsAsync()).Select(r => r.Id), StringComparer.Ordinal)
        );
        var dead = await one.ClaimAsDeadAsync(Plain, key: "job:dead");
        await Eventually.Holds(async () => await one.StateOfAsync(dead) == RunState.Succeeded);
        Assert.DoesNotContain(blue.Bodies.Ended, e => e.Run!.Id == dead.Id);
    }

    [Fact]
    public async Task JobsThatRunEverywhereAreNotRecorded()
    {
        using var group = new Group(withState: true);
        await using var one = await Replica.StartAsync(group, Ledger.EverySecond<EverywhereJob>);
        await using var two = await Replica.StartAsync(group, Ledger.EverySecond<EverywhereJob>);

        await Eventually.Holds(() => group.Bodies.Ended.GroupBy(e => e.Scheduled).Count(g => g.Count() == 2) >= 2);

        Assert.Empty(await one.RunsAsync());
    }

    [Fact]
    public async Task ATriggerThatBecomesAScheduleIsReadAnew()
    {
        using var group = new Group(withState: true);
        await using var replica = await Replica.StartAsync(group, Ledger.Durable<PlainJob>);
        var scheduler = await replica.SchedulerAsync();
        var key = new TriggerKey("changing");
        var once = TriggerBuilder.Create().WithIdentity(key).ForJob(Plain).StartNow().Build();
        await scheduler.ScheduleJob(once);
        await Eventually.Holds(() => group.Bodies.Ended.Count == 1);
        await Eventually.Holds(async () => !await scheduler.Exists(key));

        await scheduler.ScheduleJob(
            TriggerBuilder
                .Create()
                .WithIdentity(key)
                .ForJob(Plain)
                .WithSchedule(CronScheduleBuilder.Create("* * * * * ?").InTimeZone(TimeZoneInfo.Utc))
                .Build()
        );

        await Eventually.Holds(() => group.Bodies.Ended.Count >= 2);
        await scheduler.UnscheduleJob(key);
        var runs = await replica.RunsAsync();
        Assert.Single(runs, r => !r.IsScheduled);
        Assert.Contains(runs, r => r.IsScheduled && r.Trigger == "changing");
    }

    [Fact]
    public async Task WhatTheBodyThrowsReachesQuartzAlsoWhenItIsAboutTheState()
    {
        using var group = new Group(withState: true);
        group.Bodies.Body = (_, _) => throw new StateUnavailableException("of the body's own");
        await using var replica = await Replica.StartAsync(group, Ledger.Durable<PlainJob>);

        await (await replica.SchedulerAsync()).TriggerJob(new JobKey(Plain));

        await Eventually.Holds(() => replica.Fires.Ended.Count == 1);
        Assert.Contains("of the body's own", replica.Fires.Ended.Single().Error?.ToString());
    }

    private static int Launches(Replica replica) => replica.Fires.Ended.Count(e => e.Context.Trigger.Key.Group == QuartzNames.LaunchGroup);

    private static async Task<int> TriggersAsync(Replica replica) =>
        (await (await replica.SchedulerAsync()).QueryTriggers(new TriggerQuery { Take = PagedQuery.All })).Items.Count;
}
