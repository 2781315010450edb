using Scheduler.EndToEnd.Harness;
using Scheduler.Testing;
using Scheduler.Testing.History;

namespace Scheduler.EndToEnd.Scenarios;

/// <summary>
/// Three replicas are replaced one after another by ones with another configuration: a changed cron expression, a class of another name, a
/// renamed, a removed and an added job; an old replica crashes and starts again in the middle.
/// </summary>
[Collection(Alone.Name)]
public sealed class RollingTests : Scenario
{
    private const string Trigger = "second";
    private static readonly TimeSpan Work = TimeSpan.FromMilliseconds(1);

    [Fact]
    public Task Nothing_is_doubled_or_missed_that_was_due_under_the_definition_that_counted() =>
        OnAsync([Backends.Sqlite, Backends.RedisPostgres], StartAsync, PlayAsync);

    private async Task<WorkerGroup> StartAsync(Backends backends)
    {
        var group = await GroupAsync(backends);
        Former(group);
        await group.StartThreeAsync();
        return group;
    }

    private static async Task PlayAsync(WorkerGroup group)
    {
        var window = Window.Open();
        await window.UntilAsync(TimeSpan.FromSeconds(3));

        Newer(group);
        await group.StartAsync(("d", TimeSpan.Zero));
        var firstNew = HostClock.Now;
        await StopAsync(group, "a");
        var since = await SupersededAtAsync(group.Started.Single(w => w.Name == "c"));
        // Only one replica has the new configuration, and an old one crashes and starts again.
        group.Started.Single(w => w.Name == "b").Kill9();
        Former(group);
        var again = (await group.StartAsync(("b", TimeSpan.Zero)))[0];
        Assert.Equal(since, await SupersededAtAsync(again));
        await Eventually.Holds(() => HostClock.Now > since.AddSeconds(7), TimeSpan.FromSeconds(40));
        Newer(group);
        await group.StartAsync(("e", TimeSpan.Zero));
        await StopAsync(group, "c");
        await group.StartAsync(("f", TimeSpan.Zero));
        var lastOld = await StopAsync(group, "b");
        var oldGone = HostClock.Now;
        await Eventually.Holds(() => HostClock.Now > oldGone.AddSeconds(7), TimeSpan.FromSeconds(30));

        var until = window.Close();
        var history = await group.AssertCleanAsync(
            [
                window.Every(1, "steady", Trigger, until),
                window.Every(1, "moved", Trigger, until),
                window.Every(1, "named", Trigger, until),
                // By the old replicas alone, until the last of them was asked to stop.
                window.Every(1, "removed", Trigger, lastOld),
                // By the first new one from its first second on.
                ExpectedOccurrences.Every("added", Trigger, TimeSpan.FromSeconds(1), firstNew, until),
                window.Every(1, "changed", Trigger, since) with
                {
                    Due =
                    [
                        .. window.Every(1, "changed", Trigger, since).Due,
                        .. ExpectedOccurrences
                            .Every("changed", Trigger, TimeSpan.FromSeconds(3), since + TimeSpan.FromMilliseconds(1), until)
                            .Due,
                    ],
                },
            ],
            TimeSpan.FromSeconds(60)
        );

        // What only the former definition has was never due after that.
        Assert.DoesNotContain(
            history.Rows,
            r => r.Occurrence is { Job: "changed" } o && o.ScheduledAt > since && o.ScheduledAt.ToUnixTimeSeconds() % 3 != 0
        );
        Assert.DoesNotContain(history.Rows, r => r.Occurrence.Job == "titled");
        Assert.DoesNotContain(history.Rows, r => r.Occurrence.Job == "removed" && r.Occurrence.ScheduledAt > oldGone);
    }

    private static void Former(WorkerGroup group) =>
        group
            .WithoutJob("titled")
            .WithoutJob("added")
            .WithTick("steady", Trigger, "* * * * * ?", Work)
            .WithTick("moved", Trigger, "00:00:01", Work)
            .WithTick("named", Trigger, "00:00:01", Work)
            .WithTick("removed", Trigger, "00:00:01", Work)
            .WithTick("changed", Trigger, "* * * * * ?", Work);

    private static void Newer(WorkerGroup group) =>
        group
            .WithoutJob("named")
            .WithoutJob("removed")
            .WithTick("titled", Trigger, "00:00:01", Work)
            .With("Scheduler__Jobs__titled__FormerNames__0", "named")
            .With("Scheduler__Jobs__titled__Type", "Tock")
            .With("Scheduler__Jobs__moved__Type", "Tock")
            .WithTick("added", Trigger, "00:00:01", Work)
            .WithTick("changed", Trigger, "0/3 * * * * ?", Work);

    // In the middle of a second, so that what came due before it has begun.
    private static async Task<DateTimeOffset> StopAsync(WorkerGroup group, string name)
    {
        var worker = group.Running.Single(w => w.Name == name);
        await Eventually.Holds(() => HostClock.Now.Millisecond is > 400 and < 600);
        var asked = HostClock.Now;
        Assert.Equal(0, await worker.StopAsync());
        return asked;
    }

    private static async Task<DateTimeOffset> SupersededAtAsync(WorkerProcess worker)
    {
        DateTimeOffset? since = null;
        await Eventually.Holds(
            async () =>
            {
                var jobs = (await worker.GetAsync("/api/jobs")).GetProperty("items").EnumerateArray();
                var trigger = jobs.Single(j => j.GetProperty("name").GetString() == "changed").GetProperty("triggers")[0];
                since = trigger.GetProperty("supersededAt") is { ValueKind: System.Text.Json.JsonValueKind.String } time
                    ? time.GetDateTimeOffset()
                    : null;
                return since is not null;
            },
            TimeSpan.FromSeconds(40),
            every: TimeSpan.FromMilliseconds(100)
        );
        return since!.Value;
    }
}
