using Scheduler.EndToEnd.Harness;
using Scheduler.Testing;
using Scheduler.Testing.History;

namespace Scheduler.EndToEnd.Scenarios;

/// <summary>Replicas are asked to stop one after another while they work, as in a rolling update.</summary>
[Collection(Alone.Name)]
public sealed class StopTests : Scenario
{
    private const string Within = "within";
    private const string Beyond = "beyond";
    private const string Polite = "polite";
    private static readonly TimeSpan Grace = TimeSpan.FromSeconds(3);

    [Fact]
    public Task Replicas_that_stop_under_load_hand_over_what_they_cannot_finish_and_nothing_else() => OnAllAsync(StartAsync, PlayAsync);

    private async Task<WorkerGroup> StartAsync(Backends backends)
    {
        var group = await GroupAsync(backends);
        group
            .With("Scheduler__Stop__Grace", "00:00:03")
            // Ignores its token and ends within the grace.
            .WithTick(Within, "often", "00:00:03", TimeSpan.FromSeconds(1.5), ("ignoreCancellation", "true"))
            // Listens, and takes longer than the grace.
            .WithTick(Polite, "often", "00:00:07", TimeSpan.FromSeconds(5))
            // Ignores its token, and takes longer than the process has left.
            .WithTick(Beyond, "often", "00:00:15", TimeSpan.FromSeconds(10), ("ignoreCancellation", "true"))
            .WithTick("quick", "second", "* * * * * ?", TimeSpan.FromMilliseconds(1));
        await group.StartThreeAsync();
        return group;
    }

    private static async Task PlayAsync(WorkerGroup group)
    {
        var window = Window.Open();
        await window.UntilAsync(TimeSpan.Zero);

        var stops = new List<(BodyRecord Body, WorkerProcess Worker)>();
        foreach (var (job, replacement) in ((string, string)[])[(Beyond, "d"), (Polite, "e"), (Within, "f")])
        {
            group.Start(replacement);
            var body = await BegunAsync(group, job);
            var worker = group.Of(body.Replica);
            worker.Terminate();
            stops.Add((body, worker));
        }
        foreach (var (_, stopped) in stops)
        {
            await stopped.UntilEndedAsync(Grace + TimeSpan.FromSeconds(15));
        }
        foreach (var worker in group.Running)
        {
            await worker.UntilReadyAsync();
        }
        foreach (var (body, _) in stops)
        {
            await Eventually.Holds(
                () => group.Bodies.Any(b => b.Occurrence == body.Occurrence && b.Phase == BodyPhase.Done),
                WorkerGroup.Lease + TimeSpan.FromSeconds(25)
            );
        }
        var until = window.Close();
        var history = await group.AssertCleanAsync(
            [
                window.Every(3, Within, "often", until, mayOverlap: true),
                window.Every(7, Polite, "often", until, mayOverlap: true),
                window.Every(15, Beyond, "often", until, mayOverlap: true),
                window.Every(1, "quick", "second", until, mayOverlap: true),
            ],
            TimeSpan.FromSeconds(60)
        );

        // Ended within the grace: not again. Told at its end, or gone: once more for each stop, and not oftener.
        Assert.Equal(0, FurtherAttempts(history, stops, Within));
        Assert.Equal(1 + StoppedAgain(history, stops, Polite), FurtherAttempts(history, stops, Polite));
        Assert.Equal(1 + StoppedAgain(history, stops, Beyond), FurtherAttempts(history, stops, Beyond));
        // The lock is kept until the body has ended or its process is gone, whatever it was told.
        var (stubborn, asked) = stops.Single(s => s.Body.Occurrence.Job == Beyond);
        var ended = history.Bodies.SingleOrDefault(b => b.Token == stubborn.Token && b.Phase == BodyPhase.Done)?.End;
        var next = history.Bodies.First(b => b.Occurrence == stubborn.Occurrence && b.Attempt > stubborn.Attempt);
        Assert.True(next.Begin >= (ended ?? asked.Faults[^1].Until), $"{next} began before {stubborn} had ended.");
    }

    private static int FurtherAttempts(RunHistory history, List<(BodyRecord Body, WorkerProcess Worker)> stops, string job)
    {
        var stopped = stops.Single(s => s.Body.Occurrence.Job == job).Body;
        return history.Bodies.Where(b => b.Occurrence == stopped.Occurrence).Max(b => b.Attempt) - stopped.Attempt;
    }

    // How many of the further attempts did not end because the replica that had taken the run over was the next one to be stopped.
    private static int StoppedAgain(RunHistory history, List<(BodyRecord Body, WorkerProcess Worker)> stops, string job)
    {
        var stopped = stops.Single(s => s.Body.Occurrence.Job == job).Body;
        return history
            .Bodies.Where(b => b.Occurrence == stopped.Occurrence && b.Attempt > stopped.Attempt)
            .GroupBy(b => b.Attempt)
            .Count(g => g.All(b => b.Phase != BodyPhase.Done) && stops.Any(s => s.Body.Replica == g.First().Replica));
    }

    // A body that began a moment ago on a replica that was not asked to stop yet.
    private static async Task<BodyRecord> BegunAsync(WorkerGroup group, string job)
    {
        var from = HostClock.Boot;
        BodyRecord? found = null;
        await Eventually.Holds(
            () =>
                (
                    found = group.Bodies.FirstOrDefault(b =>
                        b.Occurrence.Job == job && b.Phase == BodyPhase.Begun && b.Begin > from && group.Of(b.Replica).Faults.Count == 0
                    )
                )
                    is not null,
            TimeSpan.FromSeconds(40)
        );
        return found!;
    }
}
