using Scheduler.EndToEnd.Harness;

namespace Scheduler.EndToEnd.Scenarios;

/// <summary>Replicas of the previous commit's build and of this one, on one State that this one has migrated.</summary>
[Collection(Alone.Name)]
public sealed class PreviousBuildTests : Scenario
{
    private const string Trigger = "second";
    private static readonly TimeSpan Work = TimeSpan.FromMilliseconds(1);

    [Fact]
    public async Task Both_builds_work_together_while_one_replaces_the_other()
    {
        var folder = Directory.CreateTempSubdirectory("scheduler-previous-");
        try
        {
            var (build, missing) = await PreviousBuild.MakeAsync(folder.FullName);
            var isNeeded = Environment.GetEnvironmentVariable("SCHEDULER_TEST_PREVIOUS_BUILD") == "required";
            Assert.SkipWhen(build is null && !isNeeded, $"No previous build: {missing}.");
            Assert.True(build is not null, $"No previous build: {missing}. Check out at least two commits.");
            await OnAsync(
                [Backends.Sqlite, Backends.RedisPostgres],
                backends => StartAsync(backends, build),
                group => PlayAsync(group, build)
            );
        }
        finally
        {
            folder.Delete(recursive: true);
        }
    }

    private async Task<WorkerGroup> StartAsync(Backends backends, string? previous)
    {
        var group = await GroupAsync(backends);
        group.WithTick("steady", Trigger, "* * * * * ?", Work).WithTick("interval", Trigger, "00:00:01", Work);
        group.Build = previous;
        await group.StartAsync(("a", TimeSpan.Zero), ("b", TimeSpan.Zero));
        return group;
    }

    private static async Task PlayAsync(WorkerGroup group, string? previous)
    {
        var window = Window.Open();
        await window.UntilAsync(TimeSpan.FromSeconds(3));

        // The first of this build migrates State under the others.
        group.Build = null;
        await group.StartAsync(("c", TimeSpan.Zero));
        // One of the previous build crashes and starts again on what it has never seen.
        group.Started.Single(w => w.Name == "b").Kill9();
        group.Build = previous;
        await group.StartAsync(("d", TimeSpan.Zero));
        await window.UntilAsync(TimeSpan.FromSeconds(12));
        // And one of this build crashes, so that the previous one takes its work over.
        group.Started.Single(w => w.Name == "c").Kill9();
        await window.UntilAsync(TimeSpan.FromSeconds(18));
        group.Build = null;
        await group.StartAsync(("e", TimeSpan.Zero));
        Assert.Equal(0, await group.Started.Single(w => w.Name == "a").StopAsync());
        Assert.Equal(0, await group.Started.Single(w => w.Name == "d").StopAsync());
        await window.UntilAsync(TimeSpan.FromSeconds(26));

        var until = window.Close();
        await group.AssertCleanAsync(
            [window.Every(1, "steady", Trigger, until), window.Every(1, "interval", Trigger, until)],
            TimeSpan.FromSeconds(60)
        );
    }
}
