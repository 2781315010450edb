using Scheduler.EndToEnd.Harness;

namespace Scheduler.EndToEnd.Scenarios;

/// <summary>Nothing goes wrong for a minute: three replicas whose clocks are apart, every second, short and long bodies.</summary>
[Collection(Alone.Name)]
public sealed class SteadyTests : Scenario
{
    private static readonly TimeSpan Minute = TimeSpan.FromSeconds(60);
    private static readonly TimeSpan Apart = TimeSpan.FromMilliseconds(300);

    [Fact]
    public Task Every_second_runs_once_on_three_replicas_whose_clocks_are_apart() => OnAllAsync(StartAsync, PlayAsync);

    private async Task<WorkerGroup> StartAsync(Backends backends)
    {
        var group = await GroupAsync(backends);
        group
            .WithTick("quickCron", "second", "* * * * * ?", TimeSpan.FromMilliseconds(1))
            .WithTick("quickGrid", "second", "00:00:01", TimeSpan.FromMilliseconds(1))
            .WithTick("slowCron", "second", "* * * * * ?", TimeSpan.FromSeconds(3))
            .WithTick("slowGrid", "second", "00:00:01", TimeSpan.FromSeconds(3));
        await group.StartThreeAsync(Apart);
        return group;
    }

    private static async Task PlayAsync(WorkerGroup group)
    {
        var window = Window.Open();

        await window.UntilAsync(Minute);
        var until = window.Close();
        var history = await group.AssertCleanAsync([
            window.Every(1, "quickCron", "second", until),
            window.Every(1, "quickGrid", "second", until),
            window.Every(1, "slowCron", "second", until, mayOverlap: true),
            window.Every(1, "slowGrid", "second", until, mayOverlap: true),
        ]);

        // The body of 3 s leaves at most one due time in four free, and takes about as many as that.
        foreach (var slow in (string[])["slowCron", "slowGrid"])
        {
            var ran = history.Rows.Count(r =>
                r.Occurrence.Job == slow && r.Occurrence.ScheduledAt >= window.From && r.State == "succeeded"
            );
            Assert.InRange(ran, Minute.TotalSeconds / 6, Minute.TotalSeconds / 3 + 2);
        }
        Assert.All(group.Started, w => Assert.Equal(0, w.ExitCode));
    }
}
