using System.Collections.Concurrent;
using Microsoft.Extensions.DependencyInjection;
using Scheduler.Jobs;
using Scheduler.Jobs.Preference;
using Scheduler.Locking;
using Scheduler.Locking.InMemory;
using Scheduler.Postgres.State;
using Scheduler.Runs;
using Scheduler.Testing;
using Scheduler.Tests.Postgres;

namespace Scheduler.Tests.Jobs;

/// <summary>Replicas whose wall clocks are apart, by less than is allowed.</summary>
public sealed class SkewedClocksTests
{
    // Far more than a busy machine is late by.
    private static readonly TimeSpan Skew = TimeSpan.FromSeconds(1.5);

    [Fact]
    public async Task On_SQLite_each_one_takes_its_occurrences_alone_and_none_of_them_early()
    {
        using var group = new Group(withState: true);
        await RunAsync(group, static _ => { });
    }

    [Fact]
    public async Task On_PostgreSQL_each_one_takes_its_occurrences_alone_and_none_of_them_early()
    {
        await using var database = await PostgresDatabase.CreateAsync();
        using var group = new Group();
        await RunAsync(group, l => l.UsePostgresState(database.ConnectionString));
    }

    [Fact]
    public async Task A_clock_that_is_added_after_the_group_is_reported()
    {
        using var group = new Group(withState: true);
        await using var replica = await Replica.StartAsync(group, q => q.UseTimeProvider(new SkewedTime(TimeSpan.Zero)));
        Assert.Single(group.Log.Entries, e => e.Id.Id == 3027 && e.Message.Contains(nameof(SkewedTime), StringComparison.Ordinal));
    }

    private static async Task RunAsync(Group group, Action<SingleInstanceBuilder> state)
    {
        // With the clock as it is, one whose clock is behind would find its occurrences taken, and one that is ahead would be early.
        var (asked, begun) = (new CallCounts(), new ConcurrentQueue<(DateTimeOffset Due, TimeSpan Late)>());
        group.Bodies.Body = (context, _) =>
        {
            var due = context.ScheduledFireTimeUtc!.Value;
            begun.Enqueue((due, TimeProvider.System.GetUtcNow() - due));
            return ValueTask.CompletedTask;
        };
        await using var right = await StartAsync(TimeSpan.Zero);
        await using var behind = await StartAsync(-Skew);
        await using var ahead = await StartAsync(Skew);
        Replica[] all = [behind, right, ahead];
        await Eventually.Holds(() => all.All(r => all.All(o => o == r || r.Sees(o))));
        var since = TimeProvider.System.GetUtcNow() + Skew;

        // Chance decides whose each second is.
        await Eventually.Holds(
            async () => (await right.RunsAsync()) is var runs && all.All(r => TakenAlone(runs, r) >= 2),
            TimeSpan.FromSeconds(60)
        );

        Assert.All(begun.Where(b => b.Due > since), b => Assert.True(b.Late > -Skew / 2, $"{b} came early"));
        Assert.Equal(begun.Count, begun.Select(b => b.Due).Distinct().Count());

        Task<Replica> StartAsync(TimeSpan skew) => Replica.StartAsync(group, Ledger.EverySecond<PlainJob>, l => Count(l, state), skew);

        int TakenAlone(IReadOnlyList<RunRecord> runs, Replica replica) =>
            runs.Where(r => r.Replica == replica.Id && r.ScheduledAt > since)
                .Select(r => new Occurrence(r.Job, r.Trigger, r.ScheduledAt))
                .Count(o => replica.Services.GetRequiredService<ReplicaOrder>().RankOf(o) == 0 && asked.Of(o.ToString()) == 1);

        void Count(SingleInstanceBuilder builder, Action<SingleInstanceBuilder> setState)
        {
            setState(builder);
            builder.SetLeaseStore(
                (_, context) =>
                    CountedCalls.Wrap<ILeaseStore>(
                        new InMemoryLeaseStore(group.Server, context.Group),
                        asked,
                        static (method, arguments) => arguments is [AcquireRequest request, ..] ? request.Purpose : method.Name
                    )
            );
        }
    }
}
