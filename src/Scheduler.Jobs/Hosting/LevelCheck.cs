using Scheduler.Locking;

namespace Scheduler.Jobs.Hosting;

/// <summary>
/// Compares the levels that jobs demand with what lock store and State give, at first contact with the store and before it grants
/// anything: a store that is too weak is not used, and the host stops. Thread-safe.
/// </summary>
internal sealed class LevelCheck(JobCatalog jobs, StateHolder state)
{
    private readonly Lock _gate = new();
    private IReadOnlyList<string> _problems = [];
    private Action<IReadOnlyList<string>>? _stop;

    /// <summary>What the last contact found.</summary>
    public IReadOnlyList<string> Problems
    {
        get
        {
            lock (_gate)
            {
                return _problems;
            }
        }
    }

    /// <summary>Finds the jobs that demand more than they get, with the ways out.</summary>
    public IReadOnlyList<string> Find(string store, Level level)
    {
        var got = state.Guard is { } guard ? Weaker(level, guard.Level) : Level.Efficiency;
        return
        [
            .. jobs
                .All.Where(j => j.IsSingleInstance && j.Level > got)
                .Select(j =>
                    $"Job '{j.Job}' demands Level.{j.Level}, but lock store '{store}' with State "
                    + $"'{state.Guard?.Name ?? "none"}' gives Level.{got}. "
                    + "Use a lock store and a State of that level (docs/guarantees.md lists them), or lower the job's Level."
                ),
        ];
    }

    /// <summary>The store has answered.</summary>
    /// <exception cref="StoreUnavailableException">It is too weak and must not be used.</exception>
    public void OnContact(string store, Level level)
    {
        var problems = Find(store, level);
        Action<IReadOnlyList<string>>? stop;
        lock (_gate)
        {
            _problems = problems;
            stop = problems.Count > 0 ? Interlocked.Exchange(ref _stop, null) : null;
        }
        stop?.Invoke(problems);
        if (problems.Count > 0)
        {
            throw new StoreUnavailableException(string.Join(' ', problems), permanent: true);
        }
    }

    /// <summary>The host starts without having reached the store: what the first contact finds stops it.</summary>
    /// <param name="stop">Called once with the problems; at once if they have been found meanwhile.</param>
    public void AtFirstContact(Action<IReadOnlyList<string>> stop)
    {
        IReadOnlyList<string> found;
        lock (_gate)
        {
            found = _problems;
            _stop = found.Count > 0 ? null : stop;
        }
        if (found.Count > 0)
        {
            stop(found);
        }
    }

    private static Level Weaker(Level left, Level right) => left < right ? left : right;
}
