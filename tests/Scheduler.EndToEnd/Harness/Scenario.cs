using Scheduler.Testing.Servers;

namespace Scheduler.EndToEnd.Harness;

/// <summary>Base of the tests with worker processes: ends everything that a test started, and keeps the files of a failed one.</summary>
public abstract class Scenario : IAsyncLifetime
{
    private readonly List<WorkerGroup> _groups = [];

    /// <summary>Plays a scenario on all backends, two side by side: mostly it waits, and they have nothing in common.</summary>
    private protected static Task OnAllAsync(Func<Backends, Task> scenario) => InPairsAsync(Enum.GetValues<Backends>(), scenario);

    /// <summary>The same on those with lock servers.</summary>
    private protected static Task OnServersAsync(Func<Backends, Task> scenario) =>
        InPairsAsync(Enum.GetValues<Backends>().Where(b => b != Backends.Sqlite), scenario);

    // More would start so many processes at once that a body of a millisecond takes a second.
    private static async Task InPairsAsync(IEnumerable<Backends> backends, Func<Backends, Task> scenario)
    {
        foreach (var pair in backends.Chunk(2))
        {
            await Task.WhenAll(pair.Select(scenario));
        }
    }

    public ValueTask InitializeAsync() => ValueTask.CompletedTask;

    /// <summary>Makes the place for a group; no worker runs yet.</summary>
    private protected async Task<WorkerGroup> GroupAsync(
        Backends backends,
        RedisServerOptions? redis = null,
        PostgresServer? postgres = null
    )
    {
        var group = await WorkerGroup.CreateAsync(backends, redis, postgres);
        lock (_groups)
        {
            _groups.Add(group);
        }
        return group;
    }

    /// <summary>Another group on the same lock store and the same State.</summary>
    private protected WorkerGroup Beside(WorkerGroup group)
    {
        var other = group.Beside();
        lock (_groups)
        {
            _groups.Add(other);
        }
        return other;
    }

    public async ValueTask DisposeAsync()
    {
        GC.SuppressFinalize(this);
        var failed = TestContext.Current.TestState?.Result == TestResult.Failed;
        foreach (var group in Enumerable.Reverse(_groups))
        {
            if (failed)
            {
                TestContext.Current.TestOutputHelper?.WriteLine(group.Describe());
            }
            await group.DisposeAsync(keepFiles: failed);
        }
    }
}
