using Microsoft.Extensions.Logging;
using Quartz;
using Scheduler.Jobs;
using Scheduler.Testing;

namespace Scheduler.Tests.Jobs;

/// <summary>The middleware on plain Quartz applications without State and without the worker host.</summary>
public sealed class WithoutStateTests
{
    [Fact]
    public async Task TwoReplicasWithClocksApartRunEachTickOnce()
    {
        using var group = new Group();
        await using var one = await Replica.StartAsync(group, EverySecond<PlainJob>);
        await using var two = await Replica.StartAsync(group, EverySecond<PlainJob>, skew: TimeSpan.FromMilliseconds(300));

        await Eventually.Holds(() => group.Bodies.Ended.Count >= 6);

        var ticks = group.Bodies.Ended.Select(e => e.Scheduled!.Value).ToList();
        Assert.Equal(ticks.Distinct().Count(), ticks.Count);
        var first = ticks.Min();
        var complete = ticks.Order().TakeWhile((t, i) => t == first.AddSeconds(i)).Count();
        Assert.Equal(ticks.Count, complete);
        await Eventually.Holds(() => one.Fires.Skips.Count + two.Fires.Skips.Count >= 5);
    }

    [Fact]
    public async Task ASkipShowsInQuartzWithTheReason()
    {
        using var group = new Group();
        var entered = new TaskCompletionSource();
        var leave = new TaskCompletionSource();
        group.Bodies.Body = async (_, _) =>
        {
            entered.TrySetResult();
            await leave.Task;
        };
        await using var one = await Replica.StartAsync(group, Plain);
        await using var two = await Replica.StartAsync(group, Plain);
        await (await one.SchedulerAsync()).TriggerJob(new JobKey("plain"));
        await entered.Task.WaitAsync(Eventually.DefaultBound);

        await (await two.SchedulerAsync()).TriggerJob(new JobKey("plain"));

        await Eventually.Holds(() => two.Fires.Skips.Count == 1);
        Assert.Contains("'job:plain' is held by", two.Fires.Skips[0].Summary);
        Assert.Contains(group.Log.Entries, e => e.Message.Contains("without State nothing remembers it", StringComparison.Ordinal));
        leave.SetResult();
    }

    [Fact]
    public async Task TheKeyIsFilledFromTheJobDataSoDifferentDataRunAtOnce()
    {
        using var group = new Group();
        var inside = 0;
        var both = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        group.Bodies.Body = async (_, _) =>
        {
            if (Interlocked.Increment(ref inside) == 2)
            {
                both.SetResult();
            }
            await both.Task.WaitAsync(Eventually.DefaultBound);
        };
        await using var replica = await Replica.StartAsync(group, q => q.AddJob<KeyedJob>(c => c.WithIdentity("keyed").StoreDurably()));
        var scheduler = await replica.SchedulerAsync();

        await scheduler.TriggerJob(new JobKey("keyed"), new JobDataMap { ["who"] = "a b" });
        await scheduler.TriggerJob(new JobKey("keyed"), new JobDataMap { ["who"] = "c" });

        await Eventually.Holds(() => group.Bodies.Ended.Count == 2);
        Assert.Equal(["settle:a%20b", "settle:c"], group.Bodies.Ended.Select(e => e.Run!.LockKey.Value).Order(StringComparer.Ordinal));
    }

    [Fact]
    public async Task AMissingPlaceholderFailsTheFireAndNamesIt()
    {
        using var group = new Group();
        await using var replica = await Replica.StartAsync(group, q => q.AddJob<KeyedJob>(c => c.WithIdentity("keyed").StoreDurably()));

        await (await replica.SchedulerAsync()).TriggerJob(new JobKey("keyed"));

        await Eventually.Holds(() => replica.Fires.Ended.Count == 1);
        Assert.Contains("'who'", replica.Fires.Ended.Single().Error!.ToString());
        Assert.Empty(group.Bodies.Events);
    }

    [Fact]
    public async Task ALostLeaseInterruptsTheFireWithAnExceptionOfItsOwn()
    {
        using var group = new Group();
        var entered = new TaskCompletionSource();
        group.Bodies.Body = async (_, token) =>
        {
            entered.TrySetResult();
            await Task.Delay(Timeout.InfiniteTimeSpan, TimeProvider.System, token);
        };
        await using var replica = await Replica.StartAsync(group, Plain, Short);
        await (await replica.SchedulerAsync()).TriggerJob(new JobKey("plain"));
        await entered.Task.WaitAsync(Eventually.DefaultBound);

        await replica.Locks.RevokeAsync(Scheduler.Locking.LockKey.From("job:plain"));

        await Eventually.Holds(() => replica.Fires.Ended.Count == 1);
        var interrupted = Assert.IsType<RunInterruptedException>(replica.Fires.Ended.Single().Error!.InnerException);
        Assert.Equal(Scheduler.Runs.CancelReason.LeaseLost, interrupted.Reason);
        // The release after the body ended confirms the revocation.
        await Eventually.Holds(async () => await replica.Locks.ReadAsync(Scheduler.Locking.LockKey.From("job:plain")) is null);
    }

    [Fact]
    public async Task JobsThatRunEverywhereAreNotLocked()
    {
        using var group = new Group();
        await using var one = await Replica.StartAsync(group, EverySecond<EverywhereJob>);
        await using var two = await Replica.StartAsync(group, EverySecond<EverywhereJob>);

        await Eventually.Holds(() => group.Bodies.Ended.GroupBy(e => e.Scheduled).Any(g => g.Count() == 2));

        Assert.All(group.Bodies.Ended, e => Assert.Null(e.Run));
    }

    [Fact]
    public async Task AStopWaitsForJobsThatRunEverywhereAndCancelsThemAfterTheGrace()
    {
        using var group = new Group();
        var entered = new TaskCompletionSource();
        var cancelled = new TaskCompletionSource();
        group.Bodies.Body = async (_, token) =>
        {
            token.Register(cancelled.SetResult);
            entered.SetResult();
            await Task.Delay(Timeout.InfiniteTimeSpan, TimeProvider.System, token);
        };
        await using var replica = await Replica.StartAsync(
            group,
            q => q.AddJob<EverywhereJob>(c => c.WithIdentity("everywhere").StoreDurably()),
            l => l.Options.StopGrace = TimeSpan.FromMilliseconds(100)
        );
        await (await replica.SchedulerAsync()).TriggerJob(new JobKey("everywhere"));
        await entered.Task.WaitAsync(Eventually.DefaultBound);

        await replica.StopAsync();

        Assert.True(cancelled.Task.IsCompleted);
        Assert.Single(replica.Fires.Ended);
    }

    [Fact]
    public async Task AnUnmarkedJobIsAWarningInAForeignApplication()
    {
        using var group = new Group();
        await using var replica = await Replica.StartAsync(
            group,
            q => q.AddJob<UnmarkedJob>(c => c.WithIdentity("unmarked").StoreDurably())
        );

        Assert.Contains(group.Log.Entries, e => e.Message.Contains("'unmarked'", StringComparison.Ordinal) && e.Level == LogLevel.Warning);
    }

    [Fact]
    public async Task AnUnmarkedJobStopsTheHostOnRequest()
    {
        using var group = new Group();
        await using var replica = Replica.Build(
            group,
            q => q.AddJob<UnmarkedJob>(c => c.WithIdentity("unmarked").StoreDurably()),
            l => l.Options.RequireAttribute = true
        );

        var refused = await Assert.ThrowsAsync<SchedulerConfigurationException>(replica.StartAsync);

        Assert.Contains("neither [SingleInstance] nor [EveryReplica]", refused.Message);
    }

    [Fact]
    public async Task QuartzAttributesThatBelongToOneReplicaStopTheHost()
    {
        using var group = new Group();
        await using var replica = Replica.Build(
            group,
            q =>
            {
                q.AddJob<RetriedByQuartzJob>(c => c.WithIdentity("retried").StoreDurably());
                q.AddJob<PersistingJob>(c => c.WithIdentity("persisting").StoreDurably());
            }
        );

        var refused = await Assert.ThrowsAsync<SchedulerConfigurationException>(replica.StartAsync);

        Assert.Contains("[RetryPolicy]", refused.Message);
        Assert.Contains("[PersistJobDataAfterExecution]", refused.Message);
    }

    [Fact]
    public async Task DisallowConcurrentExecutionIsAllowed()
    {
        using var group = new Group();
        await using var replica = await Replica.StartAsync(group, EverySecond<NonConcurrentJob>);

        await Eventually.Holds(() => group.Bodies.Ended.Count >= 1);
    }

    [Fact]
    public async Task AScheduleThatDiffersBetweenReplicasStopsTheHost()
    {
        using var group = new Group();
        await using var replica = Replica.Build(
            group,
            q =>
                q.ScheduleJob<PlainJob>(t =>
                    t.WithIdentity("odd")
                        .StartNow()
                        .WithSchedule(SimpleScheduleBuilder.Create().WithInterval(TimeSpan.FromSeconds(7)).RepeatForever())
                )
        );

        var refused = await Assert.ThrowsAsync<SchedulerConfigurationException>(replica.StartAsync);

        Assert.Contains("'odd'", refused.Message);
        Assert.Contains("grid", refused.Message);
    }

    [Fact]
    public async Task AJobThatDemandsMoreThanTheStoresGiveStopsTheHost()
    {
        using var group = new Group();
        await using var replica = Replica.Build(
            group,
            configure: l => l.AddJob(new JobDefinition("strict", typeof(PlainJob), []) { Level = Scheduler.Locking.Level.Correctness })
        );

        var refused = await Assert.ThrowsAsync<SchedulerConfigurationException>(replica.StartAsync);

        Assert.Contains("'strict' demands Level.Correctness", refused.Message);
        Assert.Contains("'memory'", refused.Message);
    }

    private static void Plain(IQuartzBuilder quartz) => quartz.AddJob<PlainJob>(c => c.WithIdentity("plain").StoreDurably());

    private static void Short(SingleInstanceBuilder builder) => builder.Options.Leases.LeaseDuration = TimeSpan.FromSeconds(1);

    private static void EverySecond<T>(IQuartzBuilder quartz)
        where T : class, IJob =>
        quartz.ScheduleJob<T>(
            t => t.WithIdentity("every-second").WithSchedule(CronScheduleBuilder.Create("* * * * * ?").InTimeZone(TimeZoneInfo.Utc)),
            j => j.WithIdentity(typeof(T).Name)
        );
}
