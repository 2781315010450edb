using System.Diagnostics;
using System.Globalization;
using Scheduler.Bench.Floors;
using Scheduler.Bench.Harness;

namespace Scheduler.Bench.Fires;

/// <summary>Some processes of one system with one workload.</summary>
internal sealed class FireSet : IAsyncDisposable
{
    private static readonly TimeSpan Look = TimeSpan.FromMilliseconds(50);
    private readonly List<Child> _children;

    private FireSet(List<Child> children) => _children = children;

    public IReadOnlyList<Child> Children => _children;

    /// <summary>Starts the processes, and lets all of them fire when all are ready.</summary>
    public static async Task<FireSet> StartAsync(FireSystem system, Workload workload, FirePlace place, int processes)
    {
        var set = new FireSet([.. Enumerable.Range(0, processes).Select(_ => FireReplica.Start(system, workload, place))]);
        foreach (var child in set._children)
        {
            await child.ExpectAsync("ready");
        }
        if (system.StoresTriggers)
        {
            var now = TimeProvider.System.GetUtcNow();
            var next = Enumerable.Range(0, workload.Jobs).Select(job => (workload.NameOf(job), workload.NextAfter(job, now)));
            await QuartzCluster.BeginAnewAsync(place.Postgres, next);
        }
        await Task.WhenAll(set._children.Select(c => c.TellAsync("go")));
        foreach (var child in set._children)
        {
            await child.ExpectAsync("started");
        }
        return set;
    }

    /// <summary>How many bodies have run.</summary>
    public async Task<int> CountAsync()
    {
        var counts = await Task.WhenAll(_children.Select(c => AskAsync(c, "count")));
        return counts.Sum(c => int.Parse(c, CultureInfo.InvariantCulture));
    }

    /// <summary>Waits until so many bodies have run, at most for a while: what is missing then shows in the report.</summary>
    public async Task ReachAsync(int count, TimeSpan longest)
    {
        var start = Stopwatch.GetTimestamp();
        while (await CountAsync() < count && Stopwatch.GetElapsedTime(start) < longest)
        {
            await Task.Delay(Look, TimeProvider.System);
        }
    }

    /// <summary>All bodies that have run.</summary>
    public async Task<IReadOnlyList<Fired>> ReportAsync()
    {
        await Task.WhenAll(_children.Select(c => c.TellAsync("report")));
        var all = new List<Fired>();
        foreach (var child in _children)
        {
            all.AddRange(await child.ResultAsync<List<Fired>>());
        }
        return all;
    }

    /// <summary>Lets the processes stop in order, as at a deployment.</summary>
    public Task EndAsync() => Task.WhenAll(_children.Select(c => c.EndAsync()));

    public async ValueTask DisposeAsync()
    {
        foreach (var child in _children)
        {
            await child.DisposeAsync();
        }
    }

    private static async Task<string> AskAsync(Child child, string question)
    {
        await child.TellAsync(question);
        return await child.LineAsync();
    }
}
