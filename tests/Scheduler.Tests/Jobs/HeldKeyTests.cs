using System.Collections.Concurrent;
using Scheduler.Jobs;
using Scheduler.Locking;
using Scheduler.Runs;
using Scheduler.Testing;

namespace Scheduler.Tests.Jobs;

/// <summary>What becomes of an occurrence whose key is held for something else than its own trigger.</summary>
public sealed class HeldKeyTests
{
    private static readonly LockKey Key = LockKey.From("settle:shared");

    // Due at noon and then not for an hour.
    private static readonly TimeSpan Period = TimeSpan.FromHours(1);
    private static readonly DateTimeOffset BeforeNoon = new(2026, 1, 31, 11, 59, 58, TimeSpan.Zero);

    private readonly ConcurrentQueue<Occurrence> _ran = new();

    [Fact]
    public async Task It_waits_without_a_slot_and_runs_when_the_key_is_free_whatever_its_catch_up_says()
    {
        using var group = NewGroup();
        await using var replica = await StartAsync(group);
        var held = (Scheduler.Leases.LockAttempt.Granted)
            await replica.Locks.TryAcquireAsync(Key, "backup/nightly@2026-01-31T02:00:00.000Z");

        await Eventually.Holds(async () => (await replica.RunsAsync()).Any(r => r.State == RunState.Waiting));
        var waiting = Assert.Single(await replica.RunsAsync());
        Assert.Equal((0, true), (waiting.Attempt, waiting.IsScheduled));
        // Longer than a missed one may be late at all, and with CatchUp none no missed one runs.
        replica.Time.Offset += TimeSpan.FromSeconds(9);
        await held.Lease.ReleaseAsync();

        await Eventually.Holds(async () => await replica.StateOfAsync(waiting) == RunState.Succeeded);
        Assert.Equal(waiting.ScheduledAt, _ran.First().ScheduledAt);
        Assert.Equal(1, group.Log.Count(3020));
    }

    [Fact]
    public async Task Of_one_trigger_one_waits_and_another_trigger_waits_beside_it()
    {
        using var group = NewGroup();
        await using var replica = await Replica.StartAsync(
            group,
            configure: l =>
            {
                l.Options.MaxClockOffset = TimeSpan.FromMilliseconds(100);
                l.AddJob(Every(TimeSpan.FromSeconds(1), "a", "b"));
            }
        );
        var held = (Scheduler.Leases.LockAttempt.Granted)
            await replica.Locks.TryAcquireAsync(Key, "backup/nightly@2026-01-31T02:00:00.000Z");
        await Eventually.Holds(async () => (await WaitingAsync(replica)).Count == 2);
        var first = (await WaitingAsync(replica)).ToDictionary(r => r.Trigger, r => r.ScheduledAt, StringComparer.Ordinal);

        var since = TimeProvider.System.GetUtcNow();
        await Eventually.Holds(() => TimeProvider.System.GetUtcNow() > since.AddSeconds(2.5));
        Assert.Equal(
            ["a", "b"],
            (await WaitingAsync(replica)).Select(r => r.Trigger + (r.ScheduledAt == first[r.Trigger] ? "" : $" {r.ScheduledAt:O}")).Order()
        );
        await held.Lease.ReleaseAsync();

        await Eventually.Holds(() => first.All(f => _ran.Any(o => o.Trigger == f.Key && o.ScheduledAt == f.Value)));
        var ran = _ran.ToList();
        Assert.Equal(ran.Count, ran.Distinct().Count());
    }

    [Fact]
    public async Task What_finds_its_key_held_for_its_own_trigger_is_no_waiting_run()
    {
        using var group = NewGroup();
        await using var replica = await StartAsync(group);
        var held = (Scheduler.Leases.LockAttempt.Granted)await replica.Locks.TryAcquireAsync(Key, "job/a@2026-01-31T02:00:00.000Z");

        await Eventually.Holds(() => replica.Fires.Skips.Count > 0);
        var due = replica.Fires.Ended.First().Context.ScheduledFireTimeUtc!.Value;
        await Eventually.Holds(() => replica.Time.GetUtcNow() > due.AddSeconds(2.5));
        Assert.Empty(await replica.RunsAsync());
        await held.Lease.ReleaseAsync();

        await Eventually.Holds(async () => (await replica.RunsAsync()).Any(r => r.State == RunState.Succeeded));
    }

    private Group NewGroup()
    {
        var group = new Group(withState: true);
        group.Bodies.Body = (context, _) =>
        {
            _ran.Enqueue(context.GetRun().Occurrence);
            return ValueTask.CompletedTask;
        };
        return group;
    }

    private static Task<Replica> StartAsync(Group group) =>
        Replica.StartAsync(
            group,
            configure: l =>
            {
                l.Options.MaxClockOffset = TimeSpan.FromMilliseconds(100);
                l.AddJob(Every(Period, "a"));
            },
            skew: BeforeNoon - TimeProvider.System.GetUtcNow()
        );

    private static JobDefinition Every(TimeSpan every, params string[] triggers) =>
        new(
            "job",
            typeof(KeyedJob),
            [
                .. triggers.Select(name => new TriggerDefinition(
                    name,
                    null,
                    every,
                    TimeZoneInfo.Utc,
                    new Dictionary<string, string>(StringComparer.Ordinal) { ["who"] = "shared" }
                )),
            ]
        )
        {
            CatchUp = CatchUp.None,
        };

    private static async Task<IReadOnlyList<RunRecord>> WaitingAsync(Replica replica) =>
        [.. (await replica.RunsAsync()).Where(r => r.State == RunState.Waiting)];
}
