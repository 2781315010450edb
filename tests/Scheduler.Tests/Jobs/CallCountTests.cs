using System.Globalization;
using Quartz;
using Scheduler.Jobs;
using Scheduler.Jobs.Reconciliation;
using Scheduler.Locking;
using Scheduler.Locking.InMemory;
using Scheduler.Runs;
using Scheduler.Testing;

namespace Scheduler.Tests.Jobs;

/// <summary>How often replicas ask lock store and State, counted where they call them.</summary>
public sealed class CallCountTests
{
    private static readonly TimeSpan Watched = TimeSpan.FromSeconds(3);

    [Fact]
    public async Task Whose_schedules_are_not_due_a_replica_sends_heartbeats_and_looks_and_nothing_else()
    {
        using var group = new Group(withState: true);
        var calls = new CallCounts();
        await using var replica = await Replica.StartAsync(group, NeverDue, l => Count(l, group, calls));
        await Eventually.Holds(() => calls.Of(nameof(IRunLedger.OpenRunsAsync)) >= 2);

        var before = calls.Take();
        await Eventually.Passes(Watched);
        var counted = calls.Since(before);

        Assert.Equal(
            [nameof(IMemberRegistry.HeartbeatAndListAsync), nameof(IRunLedger.OpenRunsAsync)],
            // Asked for a while after members came.
            counted.Keys.Except([nameof(IScheduleLedger.ContestedAsync)]).Order(StringComparer.Ordinal)
        );
        Assert.InRange(counted[nameof(IMemberRegistry.HeartbeatAndListAsync)], 1, 2);
    }

    [Fact]
    public async Task The_key_of_a_run_that_goes_on_is_asked_for_once_in_a_lease_and_not_at_every_look()
    {
        using var group = new Group(withState: true);
        var finish = new TaskCompletionSource();
        group.Bodies.Body = (_, stop) => new ValueTask(finish.Task.WaitAsync(stop));
        await using var holder = await Replica.StartAsync(group, Ledger.Durable<PlainJob>, l => Count(l, group, new CallCounts()));
        await (await holder.SchedulerAsync()).TriggerJob(new JobKey(nameof(PlainJob)));
        await Eventually.Holds(() => group.Bodies.Events.Count == 1);

        var calls = new CallCounts();
        await using var other = await Replica.StartAsync(group, Ledger.Durable<PlainJob>, l => Count(l, group, calls));
        await Eventually.Holds(() => calls.Of(nameof(ILeaseStore.ReadAsync)) == 1);
        var looks = calls.Of(nameof(IRunLedger.OpenRunsAsync));
        await Eventually.Holds(() => calls.Of(nameof(IRunLedger.OpenRunsAsync)) >= looks + 4);

        Assert.Equal(1, calls.Of(nameof(ILeaseStore.ReadAsync)));
        finish.SetResult();
        await Eventually.Holds(async () => (await holder.RunsAsync()).All(r => r.State == RunState.Succeeded));
        Assert.Single(group.Bodies.Ended);
    }

    [Fact]
    public void A_hold_is_known_until_its_end_or_its_release()
    {
        var time = new FakeTime(DateTimeOffset.UnixEpoch);
        var holds = new KnownHolds(time);
        var key = LockKey.From("job:settle");
        Assert.Null(holds.Left(key));

        holds.Note(key, TimeSpan.FromSeconds(10));
        time.Advance(TimeSpan.FromSeconds(4));
        Assert.Equal(TimeSpan.FromSeconds(6), holds.Left(key));
        holds.Sweep();
        Assert.NotNull(holds.Left(key));
        time.Advance(TimeSpan.FromSeconds(6));
        Assert.Null(holds.Left(key));

        holds.Note(key, TimeSpan.FromSeconds(10));
        holds.Forget(key);
        Assert.Null(holds.Left(key));
    }

    /// <summary>Counts, and makes the lock store one whose leases end by their time alone.</summary>
    private static void Count(SingleInstanceBuilder builder, Group group, CallCounts calls)
    {
        var state = builder.State!;
        builder.SetState((services, context) => CountedCalls.Wrap(state(services, context), calls));
        builder.SetLeaseStore(
            (_, context) =>
            {
                var memory = new InMemoryLeaseStore(group.Server, context.Group);
                var networked = new FaultyLeaseStore(memory) { PretendedTraits = memory.Traits with { HostLocal = false } };
                return CountedCalls.Wrap<ILeaseStore>(networked, calls);
            }
        );
    }

    // A hundred schedules, due in half a year.
    private static void NeverDue(IQuartzBuilder quartz)
    {
        var month = TimeProvider.System.GetUtcNow().AddMonths(6).Month;
        for (var i = 0; i < 100; i++)
        {
            var name = string.Create(CultureInfo.InvariantCulture, $"job-{i}");
            var cron = string.Create(CultureInfo.InvariantCulture, $"0 0 3 1 {month} ?");
            quartz.ScheduleJob<PlainJob>(
                t => t.WithIdentity(name).WithSchedule(CronScheduleBuilder.Create(cron).InTimeZone(TimeZoneInfo.Utc)),
                j => j.WithIdentity(name)
            );
        }
    }
}
