using Quartz;
using Scheduler.Jobs;
using Scheduler.Locking;
using Scheduler.Locking.InMemory;
using Scheduler.Runs;
using Scheduler.Testing;

namespace Scheduler.Tests.Jobs;

/// <summary>Stores that go away and come back while replicas run.</summary>
public sealed class OutageTests
{
    private const string Plain = nameof(PlainJob);
    private static readonly LockKey Key = LockKey.From($"job:{Plain}");

    [Fact]
    public async Task ABodyGoesOnWhenTheStateGoesAwayAndItsEndIsRecordedLater()
    {
        using var group = new Group(withState: true);
        var faults = new StateFaults();
        var entered = new TaskCompletionSource();
        var leave = new TaskCompletionSource();
        group.Bodies.Body = async (_, token) =>
        {
            entered.TrySetResult();
            await leave.Task.WaitAsync(token);
        };
        await using var one = await Replica.StartAsync(group, Ledger.Durable<PlainJob>, faults.Between);
        await using var two = await Replica.StartAsync(group, Ledger.Durable<PlainJob>);
        await (await one.SchedulerAsync()).TriggerJob(new JobKey(Plain));
        await entered.Task.WaitAsync(Eventually.DefaultBound);

        faults.Away = true;
        await Eventually.Holds(() => !one.Status.IsReady);
        Assert.Contains("State", Assert.Single(one.Status.NotReadyReasons), StringComparison.Ordinal);
        leave.SetResult();
        await Eventually.Holds(() => group.Log.Entries.Any(e => e.Message.Contains("is not recorded yet", StringComparison.Ordinal)));

        Assert.NotNull(await one.Locks.ReadAsync(Key));
        faults.Away = false;
        await Eventually.Holds(async () => (await two.RunsAsync()).Single().State == RunState.Succeeded);
        await Eventually.Holds(() => one.Status.IsReady);
        Assert.Equal(1, (await two.RunsAsync()).Single().Attempt);
        Assert.Single(group.Bodies.Ended);
    }

    [Fact]
    public async Task AReplicaWithoutItsStateDoesNotStandInTheWayOfTheOthers()
    {
        using var group = new Group(withState: true);
        var faults = new StateFaults();
        await using var cut = await Replica.StartAsync(group, Ledger.EverySecond<PlainJob>, faults.Between);
        await using var whole = await Replica.StartAsync(group, Ledger.EverySecond<PlainJob>, skew: TimeSpan.FromMilliseconds(-200));
        await Eventually.Holds(() => group.Bodies.Ended.Count >= 2);

        faults.Away = true;
        await Eventually.Holds(() => !cut.Status.IsReady);
        var before = group.Bodies.Ended.Count;
        await Eventually.Holds(() => group.Bodies.Ended.Count >= before + 4, TimeSpan.FromSeconds(9));

        faults.Away = false;
    }

    [Fact]
    public async Task AClaimWhoseAnswerWasLostOverlapsNothingAndEveryTickRuns()
    {
        using var group = new Group(withState: true);
        var faults = new StateFaults();
        await using var replica = await Replica.StartAsync(group, Ledger.EverySecond<PlainJob>, faults.Between);
        await Eventually.Holds(() => group.Bodies.Ended.Count >= 2);

        faults.LoseTheNextClaim();
        await Eventually.Holds(() => faults.Away);
        var watch = System.Diagnostics.Stopwatch.StartNew();
        await Eventually.Holds(() => watch.Elapsed > TimeSpan.FromSeconds(4));
        faults.Away = false;
        var back = TimeProvider.System.GetUtcNow();

        await Eventually.Holds(() => group.Bodies.Ended.Any(e => e.Scheduled > back.AddSeconds(1)));
        await Eventually.Holds(async () =>
            (await replica.RunsAsync()).Count(r => r.State == RunState.Succeeded && r.ScheduledAt < back) >= 5
        );
        await Eventually.Holds(async () =>
        {
            var done = (await replica.RunsAsync()).Where(r => r.ScheduledAt <= back).OrderBy(r => r.ScheduledAt).ToList();
            return done.TrueForAll(r => r.State == RunState.Succeeded)
                && done.Select(r => r.ScheduledAt)
                    .SequenceEqual(Enumerable.Range(0, done.Count).Select(i => done[0].ScheduledAt.AddSeconds(i)));
        });
        Assert.All(await replica.RunsAsync(), r => Assert.Equal(0, r.Crashes));
        Assert.DoesNotContain(await replica.RunsAsync(), r => r.State == RunState.Overlapped);
    }

    [Fact]
    public async Task WhenTheLockStoreGoesAwayBodiesAreCancelledByTheDeadlineAndGoOnByThemselves()
    {
        using var group = new Group(withState: true);
        FaultyLeaseStore? store = null;
        var tries = 0;
        var entered = new TaskCompletionSource();
        group.Bodies.Body = async (_, token) =>
        {
            if (Interlocked.Increment(ref tries) == 1)
            {
                entered.SetResult();
                await Eventually.Cancelled(token);
            }
        };
        await using var replica = await Replica.StartAsync(
            group,
            Ledger.Durable<PlainJob>,
            l =>
            {
                l.Options.Leases.LeaseDuration = TimeSpan.FromSeconds(1);
                l.Options.Leases.CallTimeout = TimeSpan.FromMilliseconds(200);
                l.Options.Leases.ProbeInterval = TimeSpan.FromMilliseconds(50);
                l.SetLeaseStore((_, c) => store = new FaultyLeaseStore(new InMemoryLeaseStore(group.Server, c.Group)));
            }
        );
        await (await replica.SchedulerAsync()).TriggerJob(new JobKey(Plain));
        await entered.Task.WaitAsync(Eventually.DefaultBound);

        store!.GoSilent(commandsArrive: false);

        await Eventually.Holds(async () => (await replica.RunsAsync()).Single().State == RunState.Interrupted);
        Assert.False(replica.Status.IsReady);
        store.Heal();
        await Eventually.Holds(async () => (await replica.RunsAsync()).Single().State == RunState.Succeeded);
        var run = (await replica.RunsAsync()).Single();
        Assert.Equal((2, 0, 0), (run.Attempt, run.Crashes, run.Failures));
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task AStoreThatTurnsOutToBeTooWeakAtFirstContactStopsTheHost(bool awayAtStart)
    {
        using var group = new Group(withState: true);
        FaultyLeaseStore? store = null;
        await using var replica = Replica.Build(
            group,
            configure: l =>
            {
                l.AddJob(
                    new JobDefinition(
                        "strict",
                        typeof(PlainJob),
                        [new("t", "* * * * * ?", null, TimeZoneInfo.Utc, new Dictionary<string, string>())]
                    )
                    {
                        Level = Level.Correctness,
                    }
                );
                l.Options.Leases.ProbeInterval = TimeSpan.FromMilliseconds(50);
                l.SetLeaseStore(
                    (_, c) =>
                    {
                        var memory = new InMemoryLeaseStore(group.Server, c.Group);
                        return store = new FaultyLeaseStore(memory)
                        {
                            PretendedTraits = memory.Traits with { Level = Level.Correctness },
                            RefuseWith = awayAtStart ? "connection refused" : null,
                        };
                    }
                );
            }
        );
        if (!awayAtStart)
        {
            var refused = await Assert.ThrowsAsync<SchedulerConfigurationException>(replica.StartAsync);
            Assert.Contains("'strict' demands Level.Correctness", refused.Message);
            return;
        }
        await ExitsWithTwoAsync(replica, () => store!.Heal());
        Assert.Contains(group.Log.Entries, e => e.Message.Contains("'strict' demands Level.Correctness", StringComparison.Ordinal));
        Assert.Empty(group.Bodies.Events);
    }

    [Fact]
    public async Task ALockStoreThatRefusesForGoodAtFirstContactStopsTheHost()
    {
        using var group = new Group(withState: true);
        FaultyLeaseStore? store = null;
        await using var replica = Replica.Build(
            group,
            Ledger.EverySecond<PlainJob>,
            l =>
            {
                l.Options.Leases.ProbeInterval = TimeSpan.FromMilliseconds(50);
                l.SetLeaseStore(
                    (_, c) => store = new FaultyLeaseStore(new InMemoryLeaseStore(group.Server, c.Group)) { RefuseWith = "no answer" }
                );
            }
        );
        await ExitsWithTwoAsync(replica, () => (store!.RefuseForGood, store.RefuseWith) = (true, "the password is wrong"));

        Assert.Contains(group.Log.Entries, e => e.Message.Contains("the password is wrong", StringComparison.Ordinal));
        Assert.Empty(group.Bodies.Events);
    }

    [Fact]
    public async Task AStateThatRefusesForGoodAtFirstContactStopsTheHost()
    {
        using var group = new Group(withState: true);
        var faults = new StateFaults { Away = true };
        await using var replica = Replica.Build(
            group,
            Ledger.EverySecond<PlainJob>,
            l =>
            {
                l.Options.Leases.ProbeInterval = TimeSpan.FromMilliseconds(50);
                faults.Between(l);
            }
        );
        await ExitsWithTwoAsync(replica, () => faults.ForGood = true);

        Assert.Empty(group.Bodies.Events);
    }

    [Fact]
    public async Task StoresThatWereInUseAndRefuseForGoodLaterAreWaitedFor()
    {
        using var group = new Group(withState: true);
        var faults = new StateFaults { Away = true };
        FaultyLeaseStore? store = null;
        await using var replica = await Replica.StartAsync(
            group,
            Ledger.EverySecond<PlainJob>,
            l =>
            {
                l.Options.Leases.ProbeInterval = TimeSpan.FromMilliseconds(50);
                l.SetLeaseStore(
                    (_, c) => store = new FaultyLeaseStore(new InMemoryLeaseStore(group.Server, c.Group)) { RefuseWith = "no answer" }
                );
                faults.Between(l);
            }
        );
        (faults.Away, store!.RefuseWith) = (false, null);
        await Eventually.Holds(() => group.Bodies.Ended.Count > 0);

        (faults.ForGood, faults.Away, store.RefuseForGood, store.RefuseWith) = (true, true, true, "the password was changed");
        await Eventually.Holds(() => replica.Status.NotReadyReasons.Count == 2);
        var probes = faults.Opens;
        await Eventually.Holds(() => faults.Opens >= probes + 3);
        (faults.Away, store.RefuseWith) = (false, null);

        await Eventually.Holds(() => replica.Status.IsReady);
        Assert.False(replica.Stopping.IsCancellationRequested);
    }

    private static async Task ExitsWithTwoAsync(Replica replica, Action refuse)
    {
        var code = Environment.ExitCode;
        await replica.StartAsync();
        Assert.False(replica.Stopping.IsCancellationRequested);

        refuse();

        await Eventually.Holds(() => replica.Stopping.IsCancellationRequested);
        Assert.Equal(2, Environment.ExitCode);
        Environment.ExitCode = code;
        Assert.False(replica.Status.IsReady);
    }

    [Fact]
    public async Task AStopBeforeTheStartAndAfterAFailedOneEnd()
    {
        using var group = new Group(withState: true);
        await using (var never = Replica.Build(group, Ledger.Durable<PlainJob>))
        {
            await never.StopAsync().WaitAsync(Eventually.DefaultBound);
        }
        await using var failed = Replica.Build(group, Ledger.Durable<RetriedByQuartzJob>);
        await Assert.ThrowsAsync<SchedulerConfigurationException>(failed.StartAsync);

        await failed.StopAsync().WaitAsync(Eventually.DefaultBound);
    }
}
