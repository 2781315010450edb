using System.Globalization;
using Scheduler.EndToEnd.Harness;
using Scheduler.Testing;
using Scheduler.Testing.History;

namespace Scheduler.EndToEnd.Scenarios;

/// <summary>
/// Four occurrences a second, and every five seconds a replica is killed and replaced: five replicas on one Redis, three on SQLite and on
/// Redis with PostgreSQL. No body lasts as long as its period, <c>CatchUp</c> is <c>All</c> and <c>OnOverlap</c> is <c>RunAfter</c>: by
/// the policies every occurrence has to run.
/// </summary>
/// <remarks>
/// Short by default, on all three at once, and nothing is said of times. The environment variable SCHEDULER_SOAK_OCCURRENCES asks for that
/// many occurrences, on SQLite and then on Redis with PostgreSQL, and bounds the take-overs; SCHEDULER_SOAK_ON names one of the backends,
/// SCHEDULER_SOAK_SEED another order of kills. With <c>-diagnostics</c> each says what it saw.
/// </remarks>
[Collection(Alone.Name)]
public sealed class SoakTests : Scenario
{
    // Half of the jobs are due every second, and the longest bodies every other one: after the lease of a dead replica they catch up.
    private static readonly (string Job, string Schedule, double Period, double Offset, int WorkMs)[] Jobs =
    [
        ("cron", "* * * * * ?", 1, 0, 1),
        ("grid", "00:00:01", 1, 0, 300),
        ("even", "0/2 * * * * ?", 2, 0, 800),
        ("odd", "1/2 * * * * ?", 2, 1, 800),
        ("half", "00:00:02", 2, 0, 500),
        ("late", "1/2 * * * * ?", 2, 1, 500),
    ];

    private const string Trigger = "often";
    private const int LongBodyMs = 500;
    private static readonly double PerSecond = Jobs.Sum(j => 1 / j.Period);
    private static readonly int? Wanted = Setting("SCHEDULER_SOAK_OCCURRENCES");
    private static readonly int Seed = Setting("SCHEDULER_SOAK_SEED") ?? 5;
    private static readonly TimeSpan Length = TimeSpan.FromSeconds(Wanted is { } wanted ? (wanted / PerSecond) + 2 : 13);

    [Fact]
    public async Task Replicas_killed_again_and_again_run_every_occurrence_once()
    {
        if (Wanted is null)
        {
            await OnAsync([Backends.Sqlite, Backends.Redis, Backends.RedisPostgres], StartAsync, PlayAsync);
            return;
        }
        var only = Environment.GetEnvironmentVariable("SCHEDULER_SOAK_ON");
        Backends[] asked = string.IsNullOrEmpty(only) ? [Backends.Sqlite, Backends.RedisPostgres] : [Enum.Parse<Backends>(only)];
        foreach (var backends in asked)
        {
            // One after another, because times are measured.
            await OnAsync([backends], StartAsync, PlayAsync);
        }
    }

    private async Task<(WorkerGroup Group, Backends Backends)> StartAsync(Backends backends)
    {
        var group = await GroupAsync(backends);
        foreach (var (job, schedule, _, _, work) in Jobs)
        {
            group
                .WithTick(job, Trigger, schedule, TimeSpan.FromMilliseconds(work))
                .With($"Scheduler__Jobs__{job}__OnOverlap", "runAfter")
                // A run that is taken over after a lease meets the next kill, and the one after that.
                .With($"Scheduler__Jobs__{job}__MaxCrashes", "100");
        }
        var replicas = backends == Backends.Redis ? 5 : 3;
        await group.StartAsync([
            .. Enumerable.Range(1, replicas).Select(i => ($"r{i}", TimeSpan.FromMilliseconds(((2 * i) - replicas - 1) * 50))),
        ]);
        return (group, backends);
    }

    private static async Task PlayAsync((WorkerGroup Group, Backends Backends) on)
    {
        var (group, backends) = on;
        var window = Window.Open();
#pragma warning disable CA5394 // Repeatable on purpose.
        // Each at times of its own, because a process that starts takes the processors from the others.
        var random = new Random(Seed + (int)backends);
        var killed = 0;
        for (var at = TimeSpan.FromSeconds(2); at < Length; at += TimeSpan.FromSeconds(4 + (random.NextDouble() * 2)))
        {
            await window.UntilAsync(at);
            // Three of four in a body; the others whoever it is and whatever it does.
            var victim = killed % 4 == 3 ? group.Running[random.Next(group.Running.Count)] : await InBodyAsync(group);
            victim.Kill9();
            group.Start($"k{++killed}", TimeSpan.FromMilliseconds(random.Next(-200, 200)));
        }
#pragma warning restore CA5394
        await window.UntilAsync(Length);

        var until = window.Close();
        var history = await group.AssertCleanAsync(
            [.. Jobs.Select(j => window.Every(j.Period, j.Job, Trigger, until, offset: j.Offset))],
            TimeSpan.FromSeconds(60)
        );
        Judge(backends, history, killed);
    }

    // The replica of a body that has begun just now and lasts a while.
    private static async Task<WorkerProcess> InBodyAsync(WorkerGroup group)
    {
        var youngest = TimeSpan.FromMilliseconds(LongBodyMs / 2);
        var isLong = Jobs.Where(j => j.WorkMs >= LongBodyMs).Select(j => j.Job).ToHashSet(StringComparer.Ordinal);
        WorkerProcess? found = null;
        await Eventually.Holds(() =>
        {
            var begun = group.Bodies.LastOrDefault(b => b.Phase == BodyPhase.Begun && isLong.Contains(b.Occurrence.Job));
            found = begun is not null && HostClock.Boot - begun.Begin < youngest ? group.Of(begun.Replica) : null;
            return found is { HasExited: false };
        });
        return found!;
    }

    private static void Judge(Backends backends, RunHistory history, int killed)
    {
        var due = history.Expected.Sum(e => e.Due.Count);
        var takeOvers = TakeOver.Of(history);
        var inBody = takeOvers.Select(t => t.Killed).Distinct(StringComparer.Ordinal).Count();
        var waited = takeOvers.Select(t => t.Waited.TotalSeconds).Order().ToList();
        // Most kills cut a body; each cut one was run again by another replica, or the history would not be clean.
        Assert.InRange(inBody, (killed + 1) / 2, killed);
        TestContext.Current.SendDiagnosticMessage(
            $"{backends}: {due} occurrences, all of them run once; {killed} replicas killed (seed {Seed}), {inBody} of them in a body; "
                + $"{waited.Count} bodies cut off, taken over after {waited[waited.Count / 2]:0.000} s (median), "
                + $"{waited[^1]:0.000} s (worst), {takeOvers.Count(t => t.CameAfterAnother)} of them after another body of the job"
        );
        if (Wanted is { } wanted)
        {
            Assert.InRange(due, wanted, int.MaxValue);
            var bound = TimeSpan.FromSeconds(0.5) + (backends == Backends.Sqlite ? TimeSpan.Zero : WorkerGroup.Lease);
            Assert.All(takeOvers, t => Assert.True(t.Waited <= bound, $"{t} took longer than {bound.TotalSeconds} s."));
        }
    }

    private static int? Setting(string name) =>
        Environment.GetEnvironmentVariable(name) is { Length: > 0 } text ? int.Parse(text, CultureInfo.InvariantCulture) : null;
}
