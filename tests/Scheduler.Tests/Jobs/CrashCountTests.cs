using Microsoft.Extensions.DependencyInjection;
using Quartz;
using Scheduler.Jobs;
using Scheduler.Locking.InMemory;
using Scheduler.Runs;
using Scheduler.Testing;

namespace Scheduler.Tests.Jobs;

/// <summary>A stop or an outage that leaves a run as if it went on is no crash: a job that is left after one runs again.</summary>
public sealed class CrashCountTests
{
    private const string Job = "left";

    private readonly TaskCompletionSource _entered = new();
    private readonly TaskCompletionSource _leave = new(TaskCreationOptions.RunContinuationsAsynchronously);

    [Fact]
    public async Task AStopWhoseEndTheStateDidNotHearIsNoCrash()
    {
        using var group = new Group(withState: true);
        group.Bodies.Body = BodyAsync;
        var faults = new StateFaults();
        await using var two = await Replica.StartAsync(group);
        var one = await Replica.StartAsync(
            group,
            configure: l =>
            {
                Left(l);
                faults.Between(l);
                l.Options.StopGrace = TimeSpan.FromSeconds(1);
            }
        );
        var run = await RequestAsync(one);
        await _entered.Task.WaitAsync(Eventually.DefaultBound);

        var stop = one.StopAsync();
        await Eventually.Holds(async () => (await MembersAsync(two)).Single(m => m.Id == one.Id).Status == "stopping");
        faults.Away = true;
        _leave.SetResult();
        await stop;
        await one.DisposeAsync();

        await RunsAgainAsync(group, run);
    }

    [Fact]
    public async Task ABodyThatOutlastsTheStopIsNoCrash()
    {
        using var group = new Group(withState: true);
        group.Bodies.Body = BodyAsync;
        await using var two = await Replica.StartAsync(group);
        var one = await Replica.StartAsync(
            group,
            configure: l =>
            {
                Left(l);
                l.Options.StopGrace = TimeSpan.Zero;
            }
        );
        var run = await RequestAsync(one);
        await _entered.Task.WaitAsync(Eventually.DefaultBound);

        await one.StopAsync();
        // It does not listen; with its process its lease ends.
        Assert.Equal(RunState.Running, await two.StateOfAsync(run));
        Assert.Equal("stopping", (await MembersAsync(two)).Single(m => m.Id == one.Id).Status);
        await one.DisposeAsync();

        await RunsAgainAsync(group, run);
        _leave.SetResult();
    }

    [Fact]
    public async Task ABodyThatOutlastsItsLeaseIsNoCrash()
    {
        using var group = new Group(withState: true);
        group.Bodies.Body = BodyAsync;
        FaultyLeaseStore? store = null;
        await using var one = await Replica.StartAsync(
            group,
            configure: l =>
            {
                Left(l);
                l.Options.Leases.CallTimeout = TimeSpan.FromMilliseconds(200);
                l.SetLeaseStore((_, c) => store = new FaultyLeaseStore(new InMemoryLeaseStore(group.Server, c.Group)));
            }
        );
        var run = await RequestAsync(one);
        await _entered.Task.WaitAsync(Eventually.DefaultBound);

        store!.GoSilent(commandsArrive: false);
        await Eventually.Holds(async () =>
            (await one.State!.CallAsync((s, t) => s.Events.ListAsync(run.Id, t), CancellationToken.None)).Any(e =>
                e.Kind == RunEventKind.Lost
            )
        );

        await RunsAgainAsync(group, run);
        _leave.SetResult();
    }

    // The first body leaves when it is told to, whatever its token says; the others at once.
    private async ValueTask BodyAsync(IJobExecutionContext context, CancellationToken token)
    {
        if (_entered.TrySetResult())
        {
            await _leave.Task;
        }
    }

    private static async Task RunsAgainAsync(Group group, RunRecord run)
    {
        await using var next = await Replica.StartAsync(group, configure: Left);
        await Eventually.Holds(async () => await next.StateOfAsync(run) == RunState.Succeeded);
        var ended = (await next.FindAsync(run.Id)).Run;
        Assert.Equal((2, 0, next.Id), (ended.Attempt, ended.Crashes, ended.Replica));
    }

    private static void Left(SingleInstanceBuilder builder)
    {
        builder.AddJob(new JobDefinition(Job, typeof(PlainJob), []) { OnCrash = OnCrash.Leave });
        builder.Options.Leases.LeaseDuration = TimeSpan.FromSeconds(1);
    }

    private static async Task<RunRecord> RequestAsync(Replica replica)
    {
        var requests = replica.Services.GetRequiredService<RunRequests>();
        return Assert.IsType<RunRequestAnswer.Accepted>(await requests.RequestAsync(Job, null, null, CancellationToken.None)).Run;
    }

    private static async Task<IReadOnlyList<MemberRecord>> MembersAsync(Replica replica) =>
        (await replica.State!.CallAsync((s, t) => s.Members.ListAsync(TimeSpan.FromMinutes(1), t), CancellationToken.None)).Items;
}
