using Scheduler.EndToEnd.Harness;
using Scheduler.Runs;
using Scheduler.Testing;
using Scheduler.Testing.History;

namespace Scheduler.EndToEnd.Scenarios;

/// <summary>The lock servers go away, once by ending and once by falling silent, and come back.</summary>
public sealed class OutageTests : Scenario
{
    private const string Job = "long";
    private static readonly TimeSpan Work = TimeSpan.FromSeconds(7);

    // What was under way when the server went: an acquisition that had been answered, a claim, the begin of the body.
    private static readonly TimeSpan UnderWay = TimeSpan.FromSeconds(2);

    [Fact]
    public Task Nothing_runs_without_the_lock_servers_and_all_goes_on_by_itself_when_they_are_back() =>
        OnServersAsync(StartAsync, PlayAsync);

    private async Task<WorkerGroup> StartAsync(Backends backends)
    {
        var group = await GroupAsync(backends);
        group.WithTick(Job, "often", "00:00:08", Work).WithTick("quick", "second", "* * * * * ?", TimeSpan.FromMilliseconds(1));
        await group.StartThreeAsync();
        return group;
    }

    private static async Task PlayAsync(WorkerGroup group)
    {
        var window = Window.Open();
        await window.UntilAsync(TimeSpan.Zero);

        var ended = await OutageAsync(group, silent: false);
        var fellSilent = await OutageAsync(group, silent: true);

        var until = window.Close();
        var history = await group.AssertCleanAsync(
            [window.Every(8, Job, "often", until, mayOverlap: true), window.Every(1, "quick", "second", until, mayOverlap: true)],
            TimeSpan.FromMinutes(1)
        );
        Assert.All(group.Started, w => Assert.Equal(0, w.ExitCode));
        Assert.Contains(history.Rows, r => r.Occurrence == ended && r.State == "succeeded");
        Assert.Contains(history.Rows, r => r.Occurrence == fellSilent && r.State == "succeeded");
    }

    // Gives back what was run when the servers went.
    private static async Task<Occurrence> OutageAsync(WorkerGroup group, bool silent)
    {
        var seen = group.Bodies.Count(b => b.Occurrence.Job == Job && b.Phase == BodyPhase.Begun);
        var begun = await FindAsync(group, b => b.Phase == BodyPhase.Begun, Work + TimeSpan.FromSeconds(10), seen);

        foreach (var server in group.Place.LockServers)
        {
            if (silent)
            {
                server.Freeze();
            }
            else
            {
                await server.KillAsync();
            }
        }
        var gone = HostClock.Boot;

        // The body is told by its deadline, and every replica says that it is not ready.
        var told = await FindAsync(
            group,
            b => b.Occurrence == begun.Occurrence && b.Phase == BodyPhase.Cancelled,
            WorkerGroup.Lease + TimeSpan.FromSeconds(5)
        );
        Assert.True(
            told.End!.Value - gone <= WorkerGroup.Lease + TimeSpan.FromSeconds(1),
            $"told only {told.End.Value - gone} after the outage"
        );
        foreach (var worker in group.Running)
        {
            await Eventually.Holds(async () => !await worker.IsReadyAsync(), WorkerGroup.Lease);
        }
        Assert.Equal(3, group.Running.Count);
        // Long enough that a lease which was not ended by its deadline would have been noticed by a second body.
        await Eventually.Holds(() => HostClock.Boot - gone > WorkerGroup.Lease + TimeSpan.FromSeconds(2));
        if (silent)
        {
            foreach (var server in group.Place.LockServers)
            {
                server.Thaw();
            }
        }
        var back = HostClock.Boot;
        if (!silent)
        {
            await Task.WhenAll(group.Place.LockServers.Select(s => s.RestartAsync(keepData: false)));
        }

        Assert.DoesNotContain(group.Bodies, b => b.Begin > gone + UnderWay && b.Begin < back);
        foreach (var worker in group.Running)
        {
            await worker.UntilReadyAsync(TimeSpan.FromSeconds(30));
        }
        var again = await FindAsync(
            group,
            b => b.Occurrence == begun.Occurrence && b.Phase == BodyPhase.Done,
            WorkerGroup.Lease + Work + TimeSpan.FromSeconds(15)
        );
        Assert.True(again.Token > begun.Token, $"{again} went on after {begun} without a larger token.");
        return begun.Occurrence;
    }

    private static async Task<BodyRecord> FindAsync(WorkerGroup group, Func<BodyRecord, bool> which, TimeSpan within, int skip = 0)
    {
        BodyRecord? found = null;
        await Eventually.Holds(
            () => (found = group.Bodies.Where(b => b.Occurrence.Job == Job && which(b)).Skip(skip).FirstOrDefault()) is not null,
            within
        );
        return found!;
    }
}
