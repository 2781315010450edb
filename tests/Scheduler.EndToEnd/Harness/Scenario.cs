using Scheduler.Testing.Servers;

namespace Scheduler.EndToEnd.Harness;

/// <summary>Base of the tests with worker processes: ends everything that a test started, and keeps the files of a failed one.</summary>
public abstract class Scenario : IAsyncLifetime
{
    private readonly List<WorkerGroup> _groups = [];

    /// <summary>
    /// Plays a scenario on all backends side by side: mostly it waits, and they have nothing in common. What is judged begins when all of
    /// them have started, because many processes that start at once make a body of a millisecond last a second.
    /// </summary>
    /// <param name="start">Starts the workers, on two sets of backends at once.</param>
    /// <param name="play">The scenario, on all at once.</param>
    private protected static Task OnAllAsync<T>(Func<Backends, Task<T>> start, Func<T, Task> play) =>
        OnAsync(Enum.GetValues<Backends>(), start, play);

    /// <summary>The same on those with lock servers.</summary>
    private protected static Task OnServersAsync<T>(Func<Backends, Task<T>> start, Func<T, Task> play) =>
        OnAsync([Backends.Redis, Backends.RedisPostgres, Backends.RedlockPostgres], start, play);

    /// <summary>The same on these.</summary>
    private protected static async Task OnAsync<T>(IEnumerable<Backends> backends, Func<Backends, Task<T>> start, Func<T, Task> play)
    {
        var started = new List<T>();
        foreach (var pair in backends.Chunk(2))
        {
            started.AddRange(await Task.WhenAll(pair.Select(start)));
        }
        await Task.WhenAll(started.Select(play));
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
