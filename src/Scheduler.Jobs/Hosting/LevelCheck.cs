using Scheduler.Locking;

namespace Scheduler.Jobs.Hosting;

/// <summary>Compares the levels that jobs demand with what lock store and State give, before the store grants anything.
/// Thread-safe.</summary>
internal sealed class LevelCheck(JobCatalog jobs, StateHolder state)
{
    /// <summary>Refuses a store of which the jobs demand more than they would get.</summary>
    /// <param name="store">The lock store's name.</param>
    /// <param name="level">What it gives; at best, before it was contacted.</param>
    /// <param name="warnings">What it found when it was contacted.</param>
    /// <exception cref="StoreUnavailableException">Jobs demand more than they get; the inner exception names each, with the ways
    /// out.</exception>
    public void ThrowIfTooWeak(string store, Level level, IReadOnlyList<string> warnings)
    {
        var ofState = state.Guard?.Level ?? Level.Efficiency;
        var got = ofState < level ? ofState : level;
        List<string> problems =
        [
            .. jobs
                .All.Where(j => j.IsSingleInstance && j.Level > got)
                .Select(j =>
                    $"Job '{j.Job}' demands Level.{j.Level}, but {Tell("lock store", store, level, warnings)}, and "
                    + $"{Tell("State", state.Guard?.Name ?? "none", ofState, state.Guard?.Weakness is { } reason ? [reason] : [])}. "
                    + "Use a lock store and a State of that level (docs/guarantees.md lists them), or lower the job's Level."
                ),
        ];
        if (problems.Count > 0)
        {
            throw new StoreUnavailableException(string.Join(' ', problems), new SchedulerConfigurationException(problems), permanent: true);
        }
    }

    private static string Tell(string what, string name, Level gives, IReadOnlyList<string> reasons) =>
        $"{what} '{name}' gives Level.{gives}"
        + (gives < Level.Correctness && reasons.Count > 0 ? $" ({string.Join(' ', reasons).TrimEnd('.')})" : "");
}
