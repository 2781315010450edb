using Quartz;
using Scheduler.Jobs;
using Scheduler.Runs;
using Scheduler.Testing;

namespace Scheduler.Tests.Jobs;

/// <summary>What a replica does with occurrences that other replicas are to take first, on a real State file.</summary>
public sealed class StandByTests
{
    private const string Left = "another replica comes first";
    private const int Launched = 3003;

    [Fact]
    public async Task What_a_dead_first_replica_does_not_take_the_second_runs_long_before_the_reconciler_would()
    {
        using var group = new Group(withState: true);
        await using var replica = await Replica.StartAsync(group, Ledger.EverySecond<PlainJob>);
        await using var ghosts = await Ghosts.StartAsync(replica, count: 1);

        await Eventually.Holds(() => group.Log.Entries.Count(IsStandBy) >= 3);
        var left = replica.Fires.Ended.Where(e => IsLeft(e.Context.Result)).Select(e => e.Context.ScheduledFireTimeUtc).ToList();
        await Eventually.Holds(() => left.All(l => group.Bodies.Ended.Any(e => e.Scheduled == l)));

        var ran = group.Bodies.Ended.Select(e => e.Scheduled!.Value).Order().ToList();
        Assert.Equal(Enumerable.Range(0, ran.Count).Select(i => ran[0].AddSeconds(i)), ran);
    }

    [Fact]
    public async Task From_the_fourth_place_on_a_replica_leaves_it_to_the_reconciler()
    {
        using var group = new Group(withState: true);
        await using var replica = await Replica.StartAsync(group, Ledger.EverySecond<PlainJob>);
        await using var ghosts = await Ghosts.StartAsync(replica, count: 60);

        // It is the second or third of 61 now and then, and of few as long as not all of them have been seen. Of so many each looks rarely
        // at what was due, so the first look may take 20 s.
        await Eventually.Holds(
            () => group.Log.Entries.Count(IsReconciled) is >= 3 and var reconciled && reconciled > group.Log.Entries.Count(IsStandBy),
            TimeSpan.FromSeconds(60)
        );
        await Eventually.Holds(() => group.Bodies.Ended.Count >= 3);
        Assert.Equal(group.Bodies.Ended.Count, group.Bodies.Ended.Select(e => e.Scheduled).Distinct().Count());
    }

    [Fact]
    public async Task Of_living_replicas_every_one_takes_a_share_and_each_tick_runs_once()
    {
        using var group = new Group(withState: true);
        var replicas = new List<Replica>();
        try
        {
            for (var i = 0; i < 3; i++)
            {
                replicas.Add(await Replica.StartAsync(group, Ledger.EverySecond<PlainJob>));
            }
            await Eventually.Holds(() => replicas.All(r => r.Fires.Ended.Any(e => IsLeft(e.Context.Result))));
            await Eventually.Holds(async () => (await replicas[0].RunsAsync()).Select(r => r.Replica).Distinct().Count() == 3);
            await EachRanOnceAsync(group);
        }
        finally
        {
            foreach (var replica in replicas)
            {
                await replica.DisposeAsync();
            }
        }
    }

    [Fact]
    public async Task What_a_first_replica_without_a_free_slot_does_not_take_the_second_runs_and_nothing_runs_again_when_it_has_one()
    {
        using var group = new Group(withState: true);
        var relief = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        group.Bodies.Body = (context, token) =>
            context.FindRun() is null ? new ValueTask(relief.Task.WaitAsync(token)) : ValueTask.CompletedTask;
        await using var slow = await Replica.StartAsync(group, Both);
        await using var next = await Replica.StartAsync(group, Both);
        await Eventually.Holds(() => slow.Sees(next) && next.Sees(slow));
        var scheduler = await slow.SchedulerAsync();
        var slots = (await scheduler.GetMetadata()).ThreadPoolSize;
        for (var i = 0; i < slots; i++)
        {
            await scheduler.TriggerJob(new JobKey(nameof(EverywhereJob)));
        }
        await Eventually.Holds(() => group.Bodies.Events.Count(e => e is { Kind: "begin", Run: null }) == slots);

        var before = group.Log.Entries.Count;
        await Eventually.Holds(() => group.Log.Entries.Skip(before).Count(IsStandBy) >= 3, TimeSpan.FromSeconds(60));
        relief.SetResult();
        // What came due meanwhile comes late, and finds that it was run.
        await Eventually.Holds(() => slow.Fires.Ended.Any(e => e.Context.JobDetail.Key.Name == nameof(PlainJob)));
        var back = TimeProvider.System.GetUtcNow();
        await Eventually.Holds(async () => (await next.RunsAsync()).Any(r => r.Replica == slow.Id && r.ScheduledAt > back));

        await EachRanOnceAsync(group);

        static void Both(IQuartzBuilder quartz)
        {
            Ledger.EverySecond<PlainJob>(quartz);
            Ledger.Durable<EverywhereJob>(quartz);
        }
    }

    [Fact]
    public async Task What_came_due_while_the_one_before_it_ran_is_overlapped_although_its_lock_is_free_at_the_look()
    {
        using var group = new Group(withState: true);
        // Ends a moment after the next one is due, and before the look.
        group.Bodies.Body = async (context, _) =>
        {
            var end = context.ScheduledFireTimeUtc!.Value.AddMilliseconds(1_010);
            await Eventually.Holds(() => TimeProvider.System.GetUtcNow() >= end);
        };
        await using var replica = await Replica.StartAsync(group, Ledger.EverySecond<PlainJob>);
        await using var ghosts = await Ghosts.StartAsync(replica, count: 2);

        await Eventually.Holds(async () => (await replica.RunsAsync()).Count(r => r.State == RunState.Overlapped) >= 4);

        var ran = group.Bodies.Ended.Select(e => e.Scheduled!.Value).Order().ToList();
        Assert.All(ran.Zip(ran.Skip(1)), pair => Assert.True(pair.Second - pair.First > TimeSpan.FromSeconds(1), $"{pair}"));
    }

    /// <summary>None is missing between the first and the last; one that went from replica to replica may end after the next.</summary>
    private static async Task EachRanOnceAsync(Group group)
    {
        await Eventually.Holds(() => Ran().Distinct().ToList() is var ran && ran[^1] - ran[0] == TimeSpan.FromSeconds(ran.Count - 1));
        Assert.Distinct(Ran());

        List<DateTimeOffset> Ran() => [.. group.Bodies.Ended.Where(e => e.Run is not null).Select(e => e.Scheduled!.Value).Order()];
    }

    private static bool IsLeft(object? result) => result is JobRunReport { Summary: Left };

    private static bool IsStandBy(LogEntry entry) =>
        entry.Id.Id == Launched && entry.Message.Contains("before this one did not take it", StringComparison.Ordinal);

    private static bool IsReconciled(LogEntry entry) =>
        entry.Id.Id == Launched && entry.Message.Contains("no replica has run it", StringComparison.Ordinal);

    /// <summary>Members that look alive and fire nothing: killed a moment ago, again and again.</summary>
    private sealed class Ghosts : IAsyncDisposable
    {
        private readonly CancellationTokenSource _stop = new();
        private readonly Task _beating;

        private Ghosts(Replica replica, IReadOnlyList<ReplicaIdentity> members) => _beating = BeatUntilAsync(replica, members, _stop.Token);

        public static async Task<Ghosts> StartAsync(Replica replica, int count)
        {
            var members = Enumerable.Range(1, count).Select(i => ReplicaIdentity.Create($"ghost-{i}")).ToList();
            await BeatAsync(replica, members);
            return new Ghosts(replica, members);
        }

        public async ValueTask DisposeAsync()
        {
            await _stop.CancelAsync();
            await _beating;
            _stop.Dispose();
        }

        private static async Task BeatUntilAsync(Replica replica, IReadOnlyList<ReplicaIdentity> members, CancellationToken stop)
        {
            using var timer = new PeriodicTimer(TimeSpan.FromSeconds(1));
            while (!stop.IsCancellationRequested)
            {
                await timer.WaitForNextTickAsync(CancellationToken.None);
                await BeatAsync(replica, members);
            }
        }

        private static async Task BeatAsync(Replica replica, IReadOnlyList<ReplicaIdentity> members)
        {
            foreach (var member in members)
            {
                var record = new MemberRecord
                {
                    Id = member.Id,
                    Name = member.Name,
                    StartedAt = replica.Time.GetUtcNow(),
                    WallClock = replica.Time.GetUtcNow(),
                    BootClock = TimeSpan.FromSeconds(replica.Time.GetTimestamp() / (double)replica.Time.TimestampFrequency),
                    Jobs = [nameof(PlainJob)],
                };
                await replica.State!.CallAsync((s, t) => s.Members.HeartbeatAsync(record, t), CancellationToken.None);
            }
        }
    }
}
