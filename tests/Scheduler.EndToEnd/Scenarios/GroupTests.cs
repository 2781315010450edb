using Scheduler.EndToEnd.Harness;
using Scheduler.Testing;

namespace Scheduler.EndToEnd.Scenarios;

/// <summary>Two groups share a lock store and a State, and have jobs and replicas of equal names.</summary>
[Collection(Alone.Name)]
public sealed class GroupTests : Scenario
{
    [Fact]
    public Task Two_groups_on_one_store_and_one_State_never_touch_each_other() =>
        OnAsync([Backends.Redis, Backends.RedisPostgres, Backends.RedlockPostgres, Backends.Postgres], StartAsync, PlayAsync);

    private async Task<(WorkerGroup First, WorkerGroup Second)> StartAsync(Backends backends)
    {
        var first = await GroupAsync(backends);
        var second = Beside(first);
        foreach (var group in (WorkerGroup[])[first, second])
        {
            group
                .WithTick("work", "often", "00:00:02", TimeSpan.FromMilliseconds(1_500))
                .WithTick("quick", "second", "* * * * * ?", TimeSpan.FromMilliseconds(1));
            await group.StartAsync(("a", default), ("b", default));
        }
        return (first, second);
    }

    private static async Task PlayAsync((WorkerGroup First, WorkerGroup Second) groups)
    {
        var (first, second) = groups;
        var window = Window.Open();
        await window.UntilAsync(TimeSpan.FromSeconds(6));

        // The death of a replica of one group is nothing to the other, which has one of the same name.
        var begun = first.Bodies.Count;
        await Eventually.Holds(() => first.Bodies.Count > begun);
        first.Of("a").Kill9();
        await window.UntilAsync(TimeSpan.FromSeconds(14));
        var until = window.Close();

        Assert.All(second.Bodies, b => Assert.Equal(1, b.Attempt));
        var names = (await second.Any.GetAsync("/api/replicas"))
            .GetProperty("items")
            .EnumerateArray()
            .Select(r => r.GetProperty("name").GetString());
        Assert.Equal(["a", "b"], names.Order(StringComparer.Ordinal));
        foreach (var group in (WorkerGroup[])[first, second])
        {
            var history = await group.AssertCleanAsync([
                window.Every(2, "work", "often", until, mayOverlap: true),
                window.Every(1, "quick", "second", until, mayOverlap: true),
            ]);
            // All that the ledger shows to a group was run by its own replicas.
            var own = group.Bodies.Select(b => b.Replica).ToHashSet(StringComparer.Ordinal);
            Assert.All(history.Rows.Where(r => r.Replica is not null), r => Assert.Contains(r.Replica!, own));
        }
        Assert.Empty(first.Bodies.Select(b => b.Replica).Intersect(second.Bodies.Select(b => b.Replica), StringComparer.Ordinal));
    }
}
