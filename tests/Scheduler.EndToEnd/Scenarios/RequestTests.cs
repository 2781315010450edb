using Scheduler.EndToEnd.Harness;
using Scheduler.Testing;
using Scheduler.Testing.History;

namespace Scheduler.EndToEnd.Scenarios;

/// <summary>Runs that somebody asks for over HTTP: they belong to the group from the answer on.</summary>
[Collection(Alone.Name)]
public sealed class RequestTests : Scenario
{
    private const string Job = "asked";
    private const string Never = "0 0 0 1 1 ? 2099";
    private const int Requests = 6;

    // Three replicas look at least once a second each; the rest is Quartz, lock and claim on a machine that has other things to do.
    private static readonly TimeSpan PickedUp = TimeSpan.FromSeconds(1.5);

    [Fact]
    public Task What_one_replica_answered_another_picks_up_within_a_second() =>
        OnAsync([Backends.Sqlite, Backends.RedisPostgres], StartAsync, PickUpAsync);

    [Fact]
    public Task A_run_that_was_asked_for_outlives_all_replicas() =>
        OnAsync([Backends.Sqlite, Backends.RedisPostgres], StartAsync, OutliveAsync);

    private async Task<(WorkerGroup Group, Backends Backends)> StartAsync(Backends backends)
    {
        var group = await GroupAsync(backends);
        group.WithTick(Job, "never", Never, TimeSpan.Zero);
        await group.StartAsync(("a", TimeSpan.Zero), ("b", TimeSpan.Zero));
        return (group, backends);
    }

    private static async Task PickUpAsync((WorkerGroup Group, Backends Backends) on)
    {
        var group = on.Group;
        // It records what it is asked for and leaves it to the others, because its clock is wrong: so none is run before the kill.
        var asked = group.Start("c", TimeSpan.FromHours(1));
        await Eventually.Holds(async () => await StatusAsync(group, "c") == "clockOff", TimeSpan.FromSeconds(60));
        var waited = new List<TimeSpan>();
        for (var i = 1; i <= Requests; i++)
        {
            var sent = HostClock.Boot;
            var id = await AskAsync(group, asked, workMs: 0);
            if (i == Requests)
            {
                asked.Kill9();
            }
            BodyRecord? begun = null;
            await Eventually.Holds(() =>
                (begun = group.Bodies.Where(b => b.Phase == BodyPhase.Begun).Skip(i - 1).FirstOrDefault()) is not null
            );
            waited.Add(begun!.Begin - sent);
            Assert.NotSame(asked, group.Of(begun.Replica));
            await SucceedsAsync(group, id);
        }

        TestContext.Current.SendDiagnosticMessage(
            $"{on.Backends}: picked up after {string.Join(", ", waited.Select(w => $"{w.TotalSeconds:0.000}"))} s"
        );
        Assert.All(waited, w => Assert.InRange(w, TimeSpan.Zero, PickedUp));
        Assert.Equal(Requests, group.Bodies.Count(b => b.Phase == BodyPhase.Done));
    }

    private static async Task OutliveAsync((WorkerGroup Group, Backends Backends) on)
    {
        var group = on.Group;

        var id = await AskAsync(group, group.Any, workMs: 3_000);
        foreach (var worker in group.Running)
        {
            worker.Kill9();
        }

        Assert.DoesNotContain(group.Bodies, b => b.Phase == BodyPhase.Done);
        await group.StartAsync(("d", TimeSpan.Zero));
        await SucceedsAsync(group, id);
        Assert.Single(group.Bodies, b => b.Phase == BodyPhase.Done);
    }

    private static async Task<string> AskAsync(WorkerGroup group, WorkerProcess worker, int workMs)
    {
        var (status, answer) = await worker.PostAsync(
            $"/api/jobs/{Job}/trigger",
            new
            {
                data = new
                {
                    file = group.BodiesPath,
                    work = $"{workMs}",
                    announce = "true",
                },
            }
        );
        Assert.True(status == 202, $"{status}: {answer}");
        return answer.GetProperty("id").GetString()!;
    }

    private static Task SucceedsAsync(WorkerGroup group, string id) =>
        Eventually.Holds(
            async () => (await group.Any.GetAsync($"/api/runs/{id}")).GetProperty("state").GetString() == "succeeded",
            WorkerGroup.Lease + TimeSpan.FromSeconds(30),
            every: TimeSpan.FromMilliseconds(20)
        );

    private static async Task<string?> StatusAsync(WorkerGroup group, string name)
    {
        var replicas = (await group.Any.GetAsync("/api/replicas")).GetProperty("items").EnumerateArray();
        return replicas
            .Where(r => new Fault(name, default, default).Hits(r.GetProperty("id").GetString()!))
            .Select(r => r.GetProperty("status").GetString())
            .LastOrDefault();
    }
}
