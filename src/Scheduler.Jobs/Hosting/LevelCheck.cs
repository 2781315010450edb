using Scheduler.Locking;

namespace Scheduler.Jobs.Hosting;

/// <summary>Compares the levels that jobs demand with what lock store and State give, before the store grants anything.
/// Thread-safe.</summary>
internal sealed class LevelCheck(JobCatalog jobs, StateHolder state)
{
    /// <summary>Refuses a store of which the jobs demand more than they would get.</summary>
    /// <exception cref="StoreUnavailableException">Jobs demand more than they get; the inner exception names each, with the ways
    /// out.</exception>
    public void ThrowIfTooWeak(string store, Level level)
    {
        var got =
            state.Guard is not { } guard ? Level.Efficiency
            : guard.Level < level ? guard.Level
            : level;
        List<string> problems =
        [
            .. jobs
                .All.Where(j => j.IsSingleInstance && j.Level > got)
                .Select(j =>
                    $"Job '{j.Job}' demands Level.{j.Level}, but lock store '{store}' with State "
                    + $"'{state.Guard?.Name ?? "none"}' gives Level.{got}. "
                    + "Use a lock store and a State of that level (docs/guarantees.md lists them), or lower the job's Level."
                ),
        ];
        if (problems.Count > 0)
        {
            throw new StoreUnavailableException(string.Join(' ', problems), new SchedulerConfigurationException(problems), permanent: true);
        }
    }
}
