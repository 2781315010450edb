using Quartz;
using Scheduler.Jobs;
using Scheduler.Locking;
using Scheduler.Runs;
using Scheduler.Testing;

namespace Scheduler.Tests.Jobs;

/// <summary>The middleware and the reconciler on a real State file: what is recorded, taken over, made up for.</summary>
public sealed class WithStateTests
{
    private const string Job = nameof(PlainJob);
    private const string Trigger = "every-second";
    private static readonly LockKey Key = LockKey.From($"job:{Job}");

    [Fact]
    public async Task ThreeReplicasWithClocksApartRunAndRecordEachTickOnce()
    {
        using var group = new Group(withState: true);
        await using var one = await Replica.StartAsync(group, EverySecond);
        await using var two = await Replica.StartAsync(group, EverySecond, skew: TimeSpan.FromMilliseconds(300));
        await using var three = await Replica.StartAsync(group, EverySecond, skew: TimeSpan.FromMilliseconds(-300));

        await Eventually.Holds(() => group.Bodies.Ended.Count >= 6);

        var ticks = group.Bodies.Ended.Select(e => e.Scheduled!.Value).Order().ToList();
        Assert.Equal(Enumerable.Range(0, ticks.Count).Select(i => ticks[0].AddSeconds(i)), ticks);
        await Eventually.Holds(async () => (await RunsAsync(one)).Count(r => r.State == RunState.Succeeded) >= ticks.Count);
        Assert.All(await RunsAsync(one), r => Assert.Equal(1, r.Attempt));
    }

    [Fact]
    public async Task ARunWhoseHolderDiedIsTakenOverWithItsOwnTimeAndData()
    {
        using var group = new Group(withState: true);
        await using var replica = await Replica.StartAsync(group, q => q.AddJob<KeyedJob>(c => c.WithIdentity("keyed").StoreDurably()));
        var scheduled = DateTimeOffset.FromUnixTimeSeconds(1_700_000_000);
        var dead = await ClaimAsDeadAsync(
            replica,
            new Occurrence("keyed", "nightly", scheduled),
            LockKey.From("settle:gone"),
            """{"who":"gone","n":7}"""
        );

        await Eventually.Holds(async () => (await FindAsync(replica, dead.Id)).Run.State == RunState.Succeeded);

        var (run, attempts) = await FindAsync(replica, dead.Id);
        Assert.Equal(2, run.Attempt);
        Assert.Equal(1, run.Crashes);
        Assert.True(attempts[1].Token > attempts[0].Token);
        Assert.Null(attempts[0].EndedAt);
        var body = Assert.Single(group.Bodies.Ended);
        Assert.Equal(scheduled, body.Scheduled);
        Assert.Equal("settle:gone", body.Run!.LockKey.Value);
        Assert.Equal("gone", group.Bodies.Events.First().Who);
    }

    [Fact]
    public async Task ARunThatCrashedTooOftenIsDead()
    {
        using var group = new Group(withState: true);
        await using var replica = await Replica.StartAsync(
            group,
            configure: l => l.AddJob(new JobDefinition("fragile", typeof(PlainJob), []) { MaxCrashes = 0 })
        );
        var dead = await ClaimAsDeadAsync(
            replica,
            new Occurrence("fragile", "t", DateTimeOffset.UnixEpoch),
            LockKey.From("job:fragile"),
            null
        );

        await Eventually.Holds(async () => (await FindAsync(replica, dead.Id)).Run.State == RunState.Dead);

        Assert.Empty(group.Bodies.Events);
    }

    [Fact]
    public async Task WhatNobodyWasUpToFireIsRunOldestFirst()
    {
        using var group = new Group(withState: true);
        var past = Floor(TimeProvider.System.GetUtcNow()).AddSeconds(-20);
        await ObserveAsync(group, past);

        await using var replica = await Replica.StartAsync(group, EverySecond);
        await Eventually.Holds(() => group.Bodies.Ended.Count(e => e.Scheduled < past.AddSeconds(18)) >= 17);

        var ran = group.Bodies.Ended.Select(e => e.Scheduled!.Value).Where(t => t < past.AddSeconds(18)).ToList();
        Assert.Equal(Enumerable.Range(1, 17).Select(i => past.AddSeconds(i)), ran);
    }

    [Fact]
    public async Task AfterAllIsPrunedNothingOldRuns()
    {
        using var group = new Group(withState: true);
        DateTimeOffset stopped;
        await using (var replica = await Replica.StartAsync(group, EverySecond))
        {
            await Eventually.Holds(() => group.Bodies.Ended.Count >= 4);
            // Behind the bound up to which the past is settled, nothing is needed any more.
            await Eventually.Holds(async () => (await RunsAsync(replica)).Count(r => r.State == RunState.Succeeded) >= 4);
            await replica.StopAsync();
            stopped = group.Bodies.Ended.Max(e => e.Scheduled!.Value);
        }
        await using var again = Replica.Build(group, EverySecond);
        await again.State!.OpenAsync(CancellationToken.None);
        await again.State.CallAsync((s, t) => s.Runs.PruneAsync(DateTimeOffset.MaxValue, 1_000, t), CancellationToken.None);
        var left = (await RunsAsync(again)).Count;
        group.Bodies.Events.Clear();

        await again.StartAsync();
        await Eventually.Holds(() => group.Bodies.Ended.Count >= 4);

        Assert.True(left <= 4, $"{left} rows were left: pruning stays behind what is settled, and no further");
        Assert.DoesNotContain(group.Bodies.Ended, e => e.Scheduled <= stopped);
    }

    [Fact]
    public async Task AManualRunIsRecordedAndWaitsForItsKey()
    {
        using var group = new Group(withState: true);
        await using var replica = await Replica.StartAsync(group, Plain);
        var held = (Scheduler.Leases.LockAttempt.Granted)await replica.Locks.TryAcquireAsync(Key, "in the way");

        await (await replica.SchedulerAsync()).TriggerJob(new JobKey(Job), new JobDataMap { ["who"] = "me" });

        await Eventually.Holds(() => replica.Fires.Skips.Count == 1);
        var waiting = Assert.Single(await RunsAsync(replica));
        Assert.Equal((RunState.Waiting, RunRecord.ManualTrigger, false), (waiting.State, waiting.Trigger, waiting.IsScheduled));
        await held.Lease.ReleaseAsync();
        await Eventually.Holds(async () => (await FindAsync(replica, waiting.Id)).Run.State == RunState.Succeeded);
        Assert.Equal("me", group.Bodies.Events.First().Who);
    }

    [Fact]
    public async Task ARefireIsTheNextAttemptOfTheRun()
    {
        using var group = new Group(withState: true);
        group.Bodies.Body = (context, _) =>
            context.RefireCount == 0 ? throw new JobExecutionException("again") { RefireImmediately = true } : ValueTask.CompletedTask;
        await using var replica = await Replica.StartAsync(group, Plain);

        await (await replica.SchedulerAsync()).TriggerJob(new JobKey(Job));

        await Eventually.Holds(async () => (await RunsAsync(replica)).Any(r => r.State == RunState.Succeeded));
        var run = Assert.Single(await RunsAsync(replica));
        Assert.Equal((2, 1), (run.Attempt, run.Failures));
        Assert.Equal(
            [RunOutcome.FailedWillRetry, RunOutcome.Succeeded],
            (await FindAsync(replica, run.Id)).Attempts.Select(a => a.Outcome!.Value)
        );
    }

    [Fact]
    public async Task AJobTimeoutIsOneFailure()
    {
        using var group = new Group(withState: true);
        group.Bodies.Body = async (_, token) => await Eventually.Cancelled(token);
        await using var replica = await Replica.StartAsync(group, q => q.AddJob<TimedJob>(c => c.WithIdentity("timed").StoreDurably()));

        await (await replica.SchedulerAsync()).TriggerJob(new JobKey("timed"));

        await Eventually.Holds(async () => (await RunsAsync(replica)).Any(r => r.State == RunState.Failed));
        var run = Assert.Single(await RunsAsync(replica));
        Assert.Equal((1, 1), (run.Attempt, run.Failures));
        Assert.NotNull(replica.Fires.Ended.Single().Error);
    }

    [Fact]
    public async Task AnInterruptByAPersonIsAFailure()
    {
        using var group = new Group(withState: true);
        var entered = new TaskCompletionSource();
        group.Bodies.Body = async (_, token) =>
        {
            entered.TrySetResult();
            await Eventually.Cancelled(token);
        };
        await using var replica = await Replica.StartAsync(group, Plain);
        var scheduler = await replica.SchedulerAsync();
        await scheduler.TriggerJob(new JobKey(Job));
        await entered.Task.WaitAsync(Eventually.DefaultBound);

        await scheduler.Interrupt(new JobKey(Job));

        await Eventually.Holds(async () => (await RunsAsync(replica)).Any(r => r.State == RunState.Failed));
    }

    [Fact]
    public async Task ABodyThatOutlastsItsPeriodOverlapsWhatComesDueMeanwhile()
    {
        using var group = new Group(withState: true);
        group.Bodies.Body = async (_, token) => await Eventually.Passes(TimeSpan.FromSeconds(2.5), token);
        await using var one = await Replica.StartAsync(group, EverySecond);
        await using var two = await Replica.StartAsync(group, EverySecond);

        await Eventually.Holds(async () => (await RunsAsync(one)).Count(r => r.State == RunState.Overlapped) >= 4);

        var runs = (await RunsAsync(one)).OrderBy(r => r.ScheduledAt).ToList();
        Assert.All(
            runs.Where(r => r.State == RunState.Overlapped),
            o => Assert.Contains(runs, r => r.StartedAt <= o.ScheduledAt && r.FinishedAt >= o.ScheduledAt && r.ScheduledAt < o.ScheduledAt)
        );
    }

    [Fact]
    public async Task AFireThatComesLateClaimsNothing()
    {
        using var group = new Group(withState: true);
        await using var replica = await Replica.StartAsync(
            group,
            q =>
                q.ScheduleJob<PlainJob>(
                    t =>
                        t.WithIdentity("late")
                            .WithSchedule(
                                CronScheduleBuilder
                                    .Create("* * * * * ?")
                                    .InTimeZone(TimeZoneInfo.Utc)
                                    .WithMisfireInstruction(CronTriggerMisfireInstruction.IgnoreMisfires)
                            ),
                    j => j.WithIdentity(Job)
                )
        );

        // Not in the middle of a run: it would seem to have lasted through the jump, and to overlap what came due in it.
        await Eventually.Holds(async () => (await RunsAsync(replica)).Any(r => r.State == RunState.Succeeded));
        replica.Time.Offset = TimeSpan.FromSeconds(8);

        await Eventually.Holds(() => replica.Fires.Skips.Any(s => s.Summary!.Contains("s late", StringComparison.Ordinal)));
        // What the fires left alone, the reconciler runs.
        var late = replica
            .Fires.Ended.First(e =>
                e.Context.Result is JobRunReport { Summary: { } summary } && summary.EndsWith("s late", StringComparison.Ordinal)
            )
            .Context.ScheduledFireTimeUtc;
        await Eventually.Holds(
            () => group.Bodies.Ended.Any(e => e.Scheduled == late),
            what: $"{late:O} has run; the log says: {string.Join(" | ", group.Log.Entries.Select(e => e.Message))}"
        );
    }

    [Fact]
    public async Task AStopLetsABodyEndWithinTheGraceAndItIsNotRunAgain()
    {
        using var group = new Group(withState: true);
        var entered = new TaskCompletionSource();
        var leave = new TaskCompletionSource();
        group.Bodies.Body = async (_, _) =>
        {
            entered.TrySetResult();
            await leave.Task;
        };
        await using var one = await Replica.StartAsync(group, Plain);
        await using var two = await Replica.StartAsync(group, Plain);
        await (await one.SchedulerAsync()).TriggerJob(new JobKey(Job));
        await entered.Task.WaitAsync(Eventually.DefaultBound);

        var stopping = one.StopAsync();
        await Eventually.Holds(() => !one.Status.IsReady);
        Assert.NotNull(await two.Locks.ReadAsync(Key));
        leave.SetResult();
        await stopping;

        var run = Assert.Single(await RunsAsync(two));
        Assert.Equal((RunState.Succeeded, 1), (run.State, run.Attempt));
    }

    [Fact]
    public async Task ABodyThatOutlastsTheGraceIsHandedOverOnce()
    {
        using var group = new Group(withState: true);
        var entered = new TaskCompletionSource();
        var first = 1;
        group.Bodies.Body = async (_, token) =>
        {
            if (Interlocked.Exchange(ref first, 0) == 1)
            {
                entered.TrySetResult();
                await Eventually.Cancelled(token);
            }
        };
        await using var one = await Replica.StartAsync(group, Plain, l => l.Options.StopGrace = TimeSpan.FromMilliseconds(200));
        await using var two = await Replica.StartAsync(group, Plain);
        await (await one.SchedulerAsync()).TriggerJob(new JobKey(Job));
        await entered.Task.WaitAsync(Eventually.DefaultBound);

        await one.StopAsync();

        await Eventually.Holds(async () => (await RunsAsync(two)).Single().State == RunState.Succeeded);
        var (run, attempts) = await FindAsync(two, (await RunsAsync(two)).Single().Id);
        Assert.Equal([RunOutcome.Interrupted, RunOutcome.Succeeded], attempts.Select(a => a.Outcome!.Value));
        Assert.Equal(0, run.Crashes);
    }

    [Fact]
    public async Task MembersSeeEachOtherAndLeave()
    {
        using var group = new Group(withState: true);
        await using var one = await Replica.StartAsync(group, Plain);
        await using (await Replica.StartAsync(group, Plain))
        {
            await Eventually.Holds(async () => (await MembersAsync(one)).Count == 2);
        }
        Assert.Single(await MembersAsync(one));
    }

    private static DateTimeOffset Floor(DateTimeOffset time) => DateTimeOffset.FromUnixTimeSeconds(time.ToUnixTimeSeconds());

    private static void Plain(IQuartzBuilder quartz) => quartz.AddJob<PlainJob>(c => c.WithIdentity(Job).StoreDurably());

    private static void EverySecond(IQuartzBuilder quartz) =>
        quartz.ScheduleJob<PlainJob>(
            t => t.WithIdentity(Trigger).WithSchedule(CronScheduleBuilder.Create("* * * * * ?").InTimeZone(TimeZoneInfo.Utc)),
            j => j.WithIdentity(Job)
        );

    private static async Task ObserveAsync(Group group, DateTimeOffset since)
    {
        await using var earlier = Replica.Build(group, EverySecond);
        await earlier.State!.OpenAsync(CancellationToken.None);
        await earlier.State.CallAsync(
            (s, t) => s.Schedules.ObserveAsync([new(Job, Trigger, $"cron * * * * * ? in {TimeZoneInfo.Utc.Id}")], since, t),
            CancellationToken.None
        );
    }

    /// <summary>Claims as a replica would that is killed right after.</summary>
    private static async Task<RunRecord> ClaimAsDeadAsync(Replica replica, Occurrence occurrence, LockKey key, string? data)
    {
        var request = new ClaimRequest
        {
            Occurrence = occurrence,
            LockKey = key,
            Token = FencingToken.Compose(0, 5),
            Replica = "dead-00000000",
            Now = occurrence.ScheduledAt,
            Data = data,
        };
        var result = await replica.State!.CallAsync((s, t) => s.Runs.ClaimAsync(request, t), CancellationToken.None);
        return Assert.IsType<ClaimResult.Claimed>(result).Run;
    }

    private static async Task<IReadOnlyList<RunRecord>> RunsAsync(Replica replica) =>
        (await replica.State!.CallAsync((s, t) => s.Runs.ListAsync(new RunQuery(Limit: 1_000), t), CancellationToken.None)).Items;

    private static async Task<IReadOnlyList<MemberRecord>> MembersAsync(Replica replica) =>
        (await replica.State!.CallAsync((s, t) => s.Members.ListAsync(TimeSpan.FromSeconds(10), t), CancellationToken.None)).Items;

    private static async Task<RecordedOccurrence> FindAsync(Replica replica, string id) =>
        (await replica.State!.CallAsync((s, t) => s.Runs.FindAsync(id, t), CancellationToken.None))!;
}
