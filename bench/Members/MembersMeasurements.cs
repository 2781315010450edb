using System.Diagnostics;
using System.Globalization;
using Quartz;
using Scheduler.Bench.Fires;
using Scheduler.Bench.Harness;
using Scheduler.Locking;
using Scheduler.Runs;
using Scheduler.Testing;

namespace Scheduler.Bench.Members;

/// <summary>The measurements of the command <c>members</c>.</summary>
internal sealed class MembersMeasurements(Plan plan, Report report, FireServers servers)
{
    public const int BusyJobs = 20;
    public const string IdleStatements = "SQL statements a second";
    public const string RoundTrips = "calls of lock store and State for an occurrence";

    private const int Launched = 3003;

    // Before the first and after the last fire of a second: the clocks are apart.
    private static readonly TimeSpan BetweenSeconds = TimeSpan.FromMilliseconds(500);

    // The first heartbeats come together, and what was due before the start is settled.
    private static readonly TimeSpan Settled = TimeSpan.FromSeconds(3);

    // What a replica asks whether or not anything is due; its part of the idle group.
    private static readonly string[] Standing =
    [
        nameof(IMemberRegistry.HeartbeatAndListAsync),
        nameof(IRunLedger.OpenRunsAsync),
        nameof(IScheduleLedger.ContestedAsync),
        nameof(ILeaseStore.PairAsync),
    ];

    // Until then every replica asks with each heartbeat whether the members that came have other definitions than it.
    private static readonly TimeSpan Acquainted = TimeSpan.FromSeconds(18);

    private static readonly (string Name, string Row)[] Kinds =
    [
        (nameof(ILeaseStore.AcquireAsync), "acquire"),
        (nameof(IRunLedger.ClaimAsync), "claim"),
        (nameof(IRunLedger.CompleteAsync), "complete"),
        (nameof(ILeaseStore.ReleaseAsync), "release"),
        (nameof(ILeaseStore.ReadAsync), "question whether a key is held"),
        (Crowd.StandByLook, "look of a second or third replica"),
        (Crowd.SettlingLook, "look at what was due"),
        (nameof(IScheduleLedger.SettleAsync), "settled bound"),
    ];

    public static int IdleJobs(Plan plan) => plan.Quick ? 200 : 1_000;

    public static int Dead(Plan plan) => Math.Max(1, plan.Replicas / 5);

    private TimeSpan Counted => TimeSpan.FromSeconds(plan.Quick ? 5 : 15);

    /// <summary>What a group costs whose jobs are not due.</summary>
    public async Task<IReadOnlyList<Reading>> IdleAsync()
    {
        // Half a year from now, on one day.
        var month = TimeProvider.System.GetUtcNow().AddMonths(6).Month;
        var cron = string.Create(CultureInfo.InvariantCulture, $"0 0 3 1 {month} ?");
        var place = await servers.PlaceAsync(FireSystems.Named("redis+postgres"), new Workload("idle", 0, cron));
        await using var crowd = await Crowd.StartAsync(place, plan.Replicas, quartz => AddJobs(quartz, IdleJobs(plan), cron));
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
            new("calls of State a second", "1/s", state.Values.Sum() / seconds),
            new("of these heartbeats", "1/s", state.GetValueOrDefault(Standing[0]) / seconds),
            new("of these looks at the open runs", "1/s", state.GetValueOrDefault(Standing[1]) / seconds),
            new("of these questions for other definitions", "1/s", state.GetValueOrDefault(Standing[2]) / seconds),
            new("of these others", "1/s", state.Where(c => !Standing.Contains(c.Key)).Sum(c => c.Value) / seconds),
            new("calls of Redis a second", "1/s", (redis - redisBefore) / seconds),
            new("calls of the lock store a second", "1/s", locks.Values.Sum() / seconds),
        ];
    }

    /// <summary>What occurrences cost and who runs them; then the same with dead replicas among those that come first.</summary>
    public async Task<(IReadOnlyList<Reading> Cost, IReadOnlyList<Reading> Dead)> BusyAsync()
    {
        const string EverySecond = "* * * * * ?";
        var place = await servers.PlaceAsync(FireSystems.Named("redis+postgres"), new Workload("busy", BusyJobs, EverySecond));
        await using var crowd = await Crowd.StartAsync(place, plan.Replicas, quartz => AddJobs(quartz, BusyJobs, EverySecond));
        var begin = await NextAsync(TimeProvider.System.GetUtcNow() + Settled);
        var (stateBefore, locksBefore) = (crowd.State.Take(), crowd.Locks.Take());
        var end = await NextAsync(begin + Counted);
        var (state, locks) = (crowd.State.Since(stateBefore), crowd.Locks.Since(locksBefore));
        var cost = CostOf(crowd, begin, end, state, locks);

        IReadOnlyList<Reading> dead;
        await using (await Ghosts.StartAsync(crowd.Guard, Dead(plan), [.. Enumerable.Range(0, BusyJobs).Select(NameOf)]))
        {
            // Until all have seen them.
            var from = await NextAsync(TimeProvider.System.GetUtcNow() + Settled);
            var before = crowd.Log.Entries.Count;
            var to = await NextAsync(from + Counted);
            await WaitForAsync(crowd, from, to);
            dead = DeadOf(crowd, from, to, [.. crowd.Log.Entries.Skip(before)]);
        }
        await WaitForAsync(crowd, begin, end);
        Check(crowd, begin, TimeProvider.System.GetUtcNow() - TimeSpan.FromSeconds(5));
        Complain(crowd);
        return (cost, dead);
    }

    private static List<Reading> CostOf(
        Crowd crowd,
        DateTimeOffset begin,
        DateTimeOffset end,
        IReadOnlyDictionary<string, long> state,
        IReadOnlyDictionary<string, long> locks
    )
    {
        var bodies = Between(crowd, begin, end);
        var occurrences = (double)bodies.Count;
        var all = state.Concat(locks).ToDictionary(c => c.Key, c => c.Value, StringComparer.Ordinal);
        var work = all.Where(c => !Standing.Contains(c.Key)).ToDictionary(StringComparer.Ordinal);
        List<Reading> readings =
        [
            new(RoundTrips, "", work.Values.Sum() / occurrences),
            .. Kinds.Select(k => new Reading($"of these {k.Row}", "", work.GetValueOrDefault(k.Name) / occurrences)),
            new("of these others", "", work.Where(w => Kinds.All(k => k.Name != w.Key)).Sum(w => w.Value) / occurrences),
            new("besides, a second: heartbeats", "1/s", all.GetValueOrDefault(Standing[0]) / (end - begin).TotalSeconds),
            new("besides, a second: looks at the open runs", "1/s", all.GetValueOrDefault(Standing[1]) / (end - begin).TotalSeconds),
        ];
        readings.Add(new("occurrences", "", occurrences));
        var shares = bodies.GroupBy(b => b.Replica).Select(g => g.Count()).ToList();
        readings.Add(new("largest share / mean", "", shares.Max() / (occurrences / crowd.Replicas)));
        readings.AddRange(Lateness("lateness", bodies));
        return readings;
    }

    private List<Reading> DeadOf(Crowd crowd, DateTimeOffset from, DateTimeOffset to, IReadOnlyList<LogEntry> log)
    {
        var bodies = Between(crowd, from, to);
        var started = log.Where(e => e.Id.Id == Launched).Select(e => e.Message).ToList();
        var byStandBy = bodies.Where(b => IsStarted(started, b, "the replica before this one did not take it")).ToList();
        var byReconciler = bodies.Count(b => IsStarted(started, b, "no replica has run it"));
        if (byStandBy.Count == 0)
        {
            report.Problem("No occurrence of a dead replica was run by the next one.");
        }
        return
        [
            new("occurrences", "", bodies.Count),
            new("run by the second or third replica", "", byStandBy.Count),
            new("found by the reconciler", "", byReconciler),
            .. Lateness("lateness of those of the second or third", byStandBy),
        ];
    }

    private static bool IsStarted(IReadOnlyList<string> log, CrowdBody body, string why)
    {
        var occurrence = new Occurrence(body.Job, body.Job, body.Due).ToString();
        return log.Any(l => l.StartsWith(occurrence, StringComparison.Ordinal) && l.Contains(why, StringComparison.Ordinal));
    }

    private static IEnumerable<Reading> Lateness(string name, IReadOnlyList<CrowdBody> bodies)
    {
        if (bodies.Count == 0)
        {
            yield break;
        }
        var sorted = bodies.Select(b => b.Late.TotalMilliseconds).Order().ToList();
        yield return new($"{name}: p50", "ms", Samples.Percentile(sorted, 0.5));
        yield return new($"{name}: p99", "ms", Samples.Percentile(sorted, 0.99));
        yield return new($"{name}: max", "ms", sorted[^1]);
    }

    private static List<CrowdBody> Between(Crowd crowd, DateTimeOffset begin, DateTimeOffset end) =>
        [.. crowd.Bodies.All.Where(b => b.Due > begin && b.Due <= end)];

    private static async Task WaitForAsync(Crowd crowd, DateTimeOffset begin, DateTimeOffset end)
    {
        var expected = BusyJobs * (int)(end - begin).TotalSeconds;
        try
        {
            await Eventually.Holds(() => Between(crowd, begin, end).Count >= expected);
        }
        catch (TimeoutException)
        {
            // What is missing is reported with the rest.
        }
    }

    private void Check(Crowd crowd, DateTimeOffset begin, DateTimeOffset end)
    {
        var ran = Between(crowd, begin, end).GroupBy(b => (b.Job, b.Due)).ToDictionary(g => g.Key, g => g.Count());
        foreach (var ((job, due), times) in ran.Where(r => r.Value > 1))
        {
            report.Problem($"{job} at {due:O} ran {times} times.");
        }
        var first = begin.AddTicks(TimeSpan.TicksPerSecond - (begin.Ticks % TimeSpan.TicksPerSecond));
        for (var due = first; due <= end; due = due.AddSeconds(1))
        {
            foreach (var job in Enumerable.Range(0, BusyJobs).Select(NameOf).Where(j => !ran.ContainsKey((j, due))))
            {
                report.Problem($"{job} at {due:O} did not run.");
            }
        }
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

    private static void AddJobs(IQuartzBuilder quartz, int count, string cron)
    {
        for (var i = 0; i < count; i++)
        {
            var name = NameOf(i);
            quartz.AddJob<CrowdJob>(job => job.WithIdentity(name).StoreDurably());
            quartz.AddTrigger(trigger =>
                trigger.WithIdentity(name).ForJob(name).WithSchedule(CronScheduleBuilder.Create(cron).InTimeZone(TimeZoneInfo.Utc))
            );
        }
    }

    private static string NameOf(int job) => string.Create(CultureInfo.InvariantCulture, $"job-{job}");
}
