using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;
using Quartz;
using Scheduler.Jobs;
using Scheduler.Runs;
using Scheduler.Testing;

namespace Scheduler.Tests.Jobs;

/// <summary>The last log lines of a run, kept with it where its job asks for them.</summary>
public sealed class KeepLogTests
{
    [Fact]
    public async Task The_last_lines_of_a_body_are_kept_with_its_run_and_of_no_other()
    {
        using var group = new Group(withState: true);
        await using var replica = await Replica.StartAsync(group, configure: l => l.AddJob(Job("told", 3)).AddJob(Job("untold", 0)));
        var log = replica.Services.GetRequiredService<ILoggerFactory>().CreateLogger("Payments");
        var leave = new TaskCompletionSource();
        Task? behind = null;
        group.Bodies.Body = async (_, _) =>
        {
#pragma warning disable CA1848, CA1873 // The body of a job that logs as its author likes.
            log.LogInformation("one");
            log.LogInformation("two");
            log.LogDebug("not kept");
            await Task.Run(() => log.LogWarning(new InvalidOperationException("cause"), "three {Number}", 3));
            log.LogInformation("four\nin two lines");
            log.LogError("{Long}", new string('x', 600));
            behind = LogLateAsync();
#pragma warning restore CA1848, CA1873
        };
        await TriggerAsync("told");
        await TriggerAsync("untold");

        RunRecord[] runs = [];
        await Eventually.Holds(async () => (runs = [.. (await replica.RunsAsync()).Where(r => r.State == RunState.Succeeded)]).Length == 2);
        leave.SetResult();
        await behind!;
        var told = runs.Single(r => r.Job == "told");
        RunEvent? kept = null;
        await Eventually.Holds(async () => (kept = (await EventsAsync(told)).SingleOrDefault()) is not null);

        var lines = kept!.Detail!.Split('\n');
        Assert.Equal((RunEventKind.Log, 1, told.Token), (kept.Kind, kept.Attempt, kept.Token));
        Assert.Equal(4, lines.Length);
        Assert.Equal("(2 lines before these)", lines[0]);
        Assert.Matches(@"^\d\d:\d\d:\d\d\.\d{3} WRN three 3 InvalidOperationException: cause$", lines[1]);
        Assert.EndsWith(" INF four in two lines", lines[2], StringComparison.Ordinal);
        Assert.Equal(500, lines[3].Length);
        Assert.EndsWith("x…", lines[3], StringComparison.Ordinal);
        Assert.Empty(await EventsAsync(runs.Single(r => r.Job == "untold")));

        async Task TriggerAsync(string job) => await (await replica.SchedulerAsync()).TriggerJob(new JobKey(job));

        async Task LogLateAsync()
        {
            await leave.Task;
#pragma warning disable CA1848
            log.LogInformation("after the end");
#pragma warning restore CA1848
        }

        async Task<IReadOnlyList<RunEvent>> EventsAsync(RunRecord run) =>
            await replica.State!.CallAsync((s, t) => s.Events.ListAsync(run.Id, t), CancellationToken.None);
    }

    private static JobDefinition Job(string name, int keepLog) => new(name, typeof(PlainJob), []) { KeepLog = keepLog };
}
