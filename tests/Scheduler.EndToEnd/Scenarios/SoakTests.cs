using System.Globalization;
using Scheduler.EndToEnd.Harness;

namespace Scheduler.EndToEnd.Scenarios;

/// <summary>
/// Five replicas on one Redis, every-second jobs, and every few seconds one of them is killed and replaced. Lasts 30 s; the environment
/// variable SCHEDULER_SOAK_SECONDS sets another length, SCHEDULER_SOAK_SEED another order of kills.
/// </summary>
public sealed class SoakTests : Scenario
{
    [Fact]
    public async Task Five_replicas_killed_at_random_run_every_occurrence_once()
    {
        var length = TimeSpan.FromSeconds(Setting("SCHEDULER_SOAK_SECONDS", 30));
        var seed = Setting("SCHEDULER_SOAK_SEED", 5);
        var group = await GroupAsync(Backends.Redis);
        group
            .WithTick("cron", "second", "* * * * * ?", TimeSpan.FromMilliseconds(1))
            .WithTick("grid", "second", "00:00:01", TimeSpan.FromMilliseconds(300));
        await group.StartAsync([.. Enumerable.Range(1, 5).Select(i => ($"r{i}", TimeSpan.FromMilliseconds((i - 3) * 100)))]);
        var window = Window.Open();
#pragma warning disable CA5394 // Repeatable on purpose.
        var random = new Random(seed);
        var killed = 0;
        for (var at = TimeSpan.FromSeconds(2); at < length; at += TimeSpan.FromSeconds(3 + (random.NextDouble() * 6)))
        {
            await window.UntilAsync(at);
            group.Running[random.Next(group.Running.Count)].Kill9();
            group.Start($"k{++killed}", TimeSpan.FromMilliseconds(random.Next(-200, 200)));
        }
#pragma warning restore CA5394
        await window.UntilAsync(length);

        var until = window.Close();
        var history = await group.AssertCleanAsync(
            [window.Every(1, "cron", "second", until), window.Every(1, "grid", "second", until)],
            TimeSpan.FromSeconds(60)
        );
        TestContext.Current.SendDiagnosticMessage(
            $"{killed} replicas killed in {length.TotalSeconds:0} s (seed {seed}); {history.Rows.Count(r => r.Attempt > 1)} "
                + "runs were taken over"
        );
        Assert.True(killed > 0);
    }

    private static int Setting(string name, int otherwise) =>
        Environment.GetEnvironmentVariable(name) is { Length: > 0 } text ? int.Parse(text, CultureInfo.InvariantCulture) : otherwise;
}
