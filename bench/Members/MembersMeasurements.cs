using System.Diagnostics;
using System.Globalization;
using Quartz;
using Scheduler.Bench.Fires;
using Scheduler.Bench.Harness;
using Scheduler.Testing;

namespace Scheduler.Bench.Members;

/// <summary>The measurements of the command <c>members</c>.</summary>
internal sealed class MembersMeasurements(Plan plan, Report report, FireServers servers)
{
    public const string IdleStatements = "SQL statements a second";

    private const string EverySecond = "* * * * * ?";

    // Between the fires of two seconds: before the first and after the last.
    private static readonly TimeSpan BetweenSeconds = TimeSpan.FromMilliseconds(500);

    // The first heartbeats come together, and what was due before the start is settled.
    private static readonly TimeSpan Settled = TimeSpan.FromSeconds(3);

    // Until then every replica asks with each heartbeat whether the members that came have other definitions than it.
    private static readonly TimeSpan Acquainted = TimeSpan.FromSeconds(18);

    // What is found by the reconciler comes later than that.
    private static readonly TimeSpan Late = TimeSpan.FromSeconds(5);

    private static readonly Workload Busy = new("job", 20, EverySecond);
    private static readonly Workload Even = new("job", 40, Cron: null);

    public static int BusyJobs => Busy.Jobs;

    public static int EvenJobs => Even.Jobs;

    public static int IdleJobs(Plan plan) => plan.Quick ? 200 : 1_000;

    public static int Dead(Plan plan) => Math.Max(1, plan.Replicas / 5);

    /// <summary>How many occurrences the long measurement has at least.</summary>
    public static int Many(Plan plan) => plan.Quick ? 150 : 10_000;

    private TimeSpan WarmUp => plan.Quick ? Settled : Acquainted;

    private TimeSpan Counted => TimeSpan.FromSeconds(plan.Quick ? 5 : 15);

    /// <summary>What a group costs whose jobs are not due.</summary>
    public async Task<IReadOnlyList<Reading>> IdleAsync()
    {
        // Half a year from now, on one day.
        var month = TimeProvider.System.GetUtcNow().AddMonths(6).Month;
        var idle = new Workload("job", IdleJobs(plan), string.Create(CultureInfo.InvariantCulture, $"0 0 3 1 {month} ?"));
        await using var crowd = await StartAsync(idle);
        await Eventually.Passes(Acquainted);
        var (sqlBefore, redisBefore) = await servers.CallsAsync();
        var (stateBefore, locksBefore) = (crowd.State.Take(), crowd.Locks.Take());
        var start = Stopwatch.GetTimestamp();
        await Eventually.Passes(Counted);
        var (sql, redis) = await servers.CallsAsync();
        var seconds = Stopwatch.GetElapsedTime(start).TotalSeconds;
        var (state, locks) = (crowd.State.Since(stateBefore), crowd.Locks.Since(locksBefore));
        if (await crowd.LivingAsync() is var living && living != plan.Replicas)
        {
            report.Problem($"Of {plan.Replicas} replicas {living} live.");
        }
        Complain(crowd);
        return
        [
            new(IdleStatements, "1/s", (sql - sqlBefore) / seconds),
            .. MembersReadings.StandingOf(state, seconds),
            new("calls of Redis a second", "1/s", (redis - redisBefore) / seconds),
            new("calls of the lock store a second", "1/s", locks.Values.Sum() / seconds),
        ];
    }

    /// <summary>What occurrences cost that are due together; then the same with dead replicas among those that come first, and then with
    /// slow ones.</summary>
    public async Task<(IReadOnlyList<Reading> Cost, IReadOnlyList<Reading> Dead, IReadOnlyList<Reading> Slow)> BusyAsync()
    {
        await using var crowd = await StartAsync(Busy);
        var begin = await NextAsync(TimeProvider.System.GetUtcNow() + WarmUp);
        var all = await CountAsync(crowd, Busy, begin, begin + Counted);
        IReadOnlyList<Reading> cost = [.. CallsOf(all), .. MembersReadings.SharesOf(all.Bodies, crowd.Replicas)];

        While dead;
        await using (await Ghosts.StartAsync(crowd.Guard, Dead(plan), [.. Enumerable.Range(0, Busy.Jobs).Select(Busy.NameOf)]))
        {
            // Until all have seen them.
            var from = await NextAsync(TimeProvider.System.GetUtcNow() + Settled);
            dead = await CountAsync(crowd, Busy, from, from + Counted);
        }
        // Until they are forgotten: three heartbeats.
        await Eventually.Passes(3 * Settled);
        await crowd.OccupyAsync(Dead(plan));
        var slowFrom = await NextAsync(TimeProvider.System.GetUtcNow() + Settled);
        var slow = await CountAsync(crowd, Busy, slowFrom, slowFrom + Counted);
        Check(crowd, Busy, begin, TimeProvider.System.GetUtcNow() - Late);
        return (cost, NextOf(dead, "dead"), NextOf(slow, "slow"));
    }

    /// <summary>How many occurrences are shared that are due one after another, and what each costs.</summary>
    public async Task<IReadOnlyList<Reading>> EvenAsync()
    {
        await using var crowd = await StartAsync(Even);
        var begin = await NextAsync(TimeProvider.System.GetUtcNow() + WarmUp);
        // Each has an interval a little above a second.
        var end = begin + TimeSpan.FromSeconds(Math.Ceiling(Many(plan) / (Even.Jobs * 0.975)));
        var all = await CountAsync(crowd, Even, begin, end);
        Check(crowd, Even, begin, end);
        return [.. CallsOf(all), .. MembersReadings.SharesOf(all.Bodies, crowd.Replicas)];
    }

    private async Task<Crowd> StartAsync(Workload workload)
    {
        var place = await servers.PlaceAsync(FireSystems.Named("redis+postgres"), workload);
        return await Crowd.StartAsync(place, plan.Replicas, quartz => AddJobs(quartz, workload));
    }

    private static IEnumerable<Reading> CallsOf(While all) => MembersReadings.CallsOf(all.Calls, all.Bodies.Count, all.End - all.Begin);

    private IReadOnlyList<Reading> NextOf(While all, string first)
    {
        if (all.Log.All(e => !e.Message.Contains("before this one did not take it", StringComparison.Ordinal)))
        {
            report.Problem($"No occurrence of a {first} replica was run by the next one.");
        }
        return [.. MembersReadings.NextOf(all.Bodies, all.Log), .. CallsOf(all)];
    }

    private static async Task<While> CountAsync(Crowd crowd, Workload workload, DateTimeOffset begin, DateTimeOffset end)
    {
        var (stateBefore, locksBefore, logBefore) = (crowd.State.Take(), crowd.Locks.Take(), crowd.Log.Entries.Count);
        // A machine that stands still for a moment makes the time longer; what is due then is counted as well as its calls.
        begin = LaterOf(begin, TimeProvider.System.GetUtcNow());
        await Eventually.Passes(end - TimeProvider.System.GetUtcNow());
        end = LaterOf(end, TimeProvider.System.GetUtcNow());
        var calls = crowd.State.Since(stateBefore).Concat(crowd.Locks.Since(locksBefore)).ToDictionary(StringComparer.Ordinal);
        var expected = workload.Between(begin, end).Count();
        try
        {
            await Eventually.Holds(() => Between(crowd, begin, end).Count >= expected);
        }
        catch (TimeoutException)
        {
            // What is missing is reported with the rest.
        }
        return new While(begin, end, calls, Between(crowd, begin, end), [.. crowd.Log.Entries.Skip(logBefore)]);
    }

    private static DateTimeOffset LaterOf(DateTimeOffset one, DateTimeOffset other) => one > other ? one : other;

    private static List<CrowdBody> Between(Crowd crowd, DateTimeOffset begin, DateTimeOffset end) =>
        [.. crowd.Bodies.All.Where(b => b.Due > begin && b.Due <= end)];

    private void Check(Crowd crowd, Workload workload, DateTimeOffset begin, DateTimeOffset end)
    {
        var ran = Between(crowd, begin, end).GroupBy(b => (b.Job, b.Due.ToUnixTimeMilliseconds())).ToDictionary(g => g.Key, g => g.Count());
        foreach (var (job, due) in workload.Between(begin, end))
        {
            if (ran.GetValueOrDefault((job, due)) is not 1 and var times)
            {
                report.Problem($"{job} at {DateTimeOffset.FromUnixTimeMilliseconds(due):O} ran {times} times.");
            }
        }
        Complain(crowd);
    }

    private void Complain(Crowd crowd)
    {
        foreach (var entry in crowd.Log.Entries.Where(e => e.Level >= Microsoft.Extensions.Logging.LogLevel.Error).Take(5))
        {
            report.Problem($"{entry.Message} {entry.Exception}");
        }
    }

    // The middle between two whole seconds, at or after a time.
    private static async Task<DateTimeOffset> NextAsync(DateTimeOffset after)
    {
        var middle = after - BetweenSeconds;
        var begun = middle.Ticks % TimeSpan.TicksPerSecond;
        middle = middle.AddTicks(begun == 0 ? 0 : TimeSpan.TicksPerSecond - begun) + BetweenSeconds;
        var left = middle - TimeProvider.System.GetUtcNow();
        await Eventually.Passes(left > TimeSpan.Zero ? left : TimeSpan.Zero);
        return middle;
    }

    private static void AddJobs(IQuartzBuilder quartz, Workload workload)
    {
        for (var i = 0; i < workload.Jobs; i++)
        {
            var (name, number) = (workload.NameOf(i), i);
            quartz.AddJob<CrowdJob>(job => job.WithIdentity(name).StoreDurably());
            quartz.AddTrigger((_, trigger) => workload.SetSchedule(trigger.WithIdentity(name).ForJob(name), number));
        }
    }

    // What happened in a while.
    private sealed record While(
        DateTimeOffset Begin,
        DateTimeOffset End,
        IReadOnlyDictionary<string, long> Calls,
        IReadOnlyList<CrowdBody> Bodies,
        IReadOnlyList<LogEntry> Log
    );
}
