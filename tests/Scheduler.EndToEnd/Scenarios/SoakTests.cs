using System.Globalization;
using Scheduler.EndToEnd.Harness;
using Scheduler.Testing.History;

namespace Scheduler.EndToEnd.Scenarios;

/// <summary>
/// Every-second jobs, and every few seconds a replica is killed and replaced: five replicas on one Redis, three on SQLite and on Redis
/// with PostgreSQL. Lasts 30 s; the environment variable SCHEDULER_SOAK_SECONDS sets another length, SCHEDULER_SOAK_SEED another order of
/// kills. With <c>-diagnostics</c> each says how long the slowest take-over lasted.
/// </summary>
public sealed class SoakTests : Scenario
{
    private static readonly TimeSpan Length = TimeSpan.FromSeconds(Setting("SCHEDULER_SOAK_SECONDS", 30));
    private static readonly int Seed = Setting("SCHEDULER_SOAK_SEED", 5);

    [Fact]
    public Task Replicas_killed_again_and_again_run_every_occurrence_once() =>
        OnAsync([Backends.Sqlite, Backends.Redis, Backends.RedisPostgres], StartAsync, PlayAsync);

    private async Task<(WorkerGroup Group, Backends Backends)> StartAsync(Backends backends)
    {
        var group = await GroupAsync(backends);
        group
            .WithTick("cron", "second", "* * * * * ?", TimeSpan.FromMilliseconds(1))
            .WithTick("grid", "second", "00:00:01", TimeSpan.FromMilliseconds(300));
        var replicas = backends == Backends.Redis ? 5 : 3;
        await group.StartAsync([
            .. Enumerable.Range(1, replicas).Select(i => ($"r{i}", TimeSpan.FromMilliseconds(((2 * i) - replicas - 1) * 50))),
        ]);
        return (group, backends);
    }

    private static async Task PlayAsync((WorkerGroup Group, Backends Backends) on)
    {
        var group = on.Group;
        var window = Window.Open();
#pragma warning disable CA5394 // Repeatable on purpose.
        // Each at times of its own, because a process that starts takes the processors from the others.
        var random = new Random(Seed + (int)on.Backends);
        var killed = 0;
        for (var at = TimeSpan.FromSeconds(2); at < Length; at += TimeSpan.FromSeconds(4 + (random.NextDouble() * 2)))
        {
            await window.UntilAsync(at);
            group.Running[random.Next(group.Running.Count)].Kill9();
            group.Start($"k{++killed}", TimeSpan.FromMilliseconds(random.Next(-200, 200)));
        }
#pragma warning restore CA5394
        await window.UntilAsync(Length);

        var until = window.Close();
        var history = await group.AssertCleanAsync(
            [window.Every(1, "cron", "second", until, mayOverlap: true), window.Every(1, "grid", "second", until, mayOverlap: true)],
            TimeSpan.FromSeconds(60)
        );
        Assert.True(killed > 0);
        var takeOvers = TakeOvers(group, history).ToList();
        var slowest = takeOvers.Count == 0 ? TimeSpan.Zero : takeOvers.Max();
        var due = history.Expected.Sum(e => e.Due.Count);
        var overlapped = history.Rows.Count(r => r.State == "overlapped");
        TestContext.Current.SendDiagnosticMessage(
            $"{on.Backends}: {due} occurrences, of which {overlapped} overlapped; {killed} replicas killed "
                + $"(seed {Seed}); {takeOvers.Count} bodies were cut off, run again {slowest.TotalSeconds:0.00} s later at most"
        );
    }

    // From the kill of a replica in a body until the next attempt's body.
    private static IEnumerable<TimeSpan> TakeOvers(WorkerGroup group, RunHistory history)
    {
        var begun = history.Bodies.Where(b => b.Phase == BodyPhase.Begun).ToLookup(b => b.Occurrence);
        foreach (var attempts in begun.Where(b => b.Count() > 1))
        {
            foreach (var (cut, next) in attempts.OrderBy(b => b.Attempt).Zip(attempts.OrderBy(b => b.Attempt).Skip(1)))
            {
                if (group.Of(cut.Replica).Faults is [.., var kill] && kill.From < next.Begin)
                {
                    yield return next.Begin - kill.From;
                }
            }
        }
    }

    private static int Setting(string name, int otherwise) =>
        Environment.GetEnvironmentVariable(name) is { Length: > 0 } text ? int.Parse(text, CultureInfo.InvariantCulture) : otherwise;
}
