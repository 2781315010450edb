using Scheduler.Locking;

namespace Scheduler.Redis.Redlock;

/// <summary>Says why there is no majority.</summary>
internal static class Quorum
{
    /// <summary>A sentence that names the nodes that do not count and why.</summary>
    public static string Missing(RedlockNode[] nodes, string what)
    {
        var problems = nodes
            .Where(n => n.Usable is null)
            .Select(n => n.Problem?.Message ?? $"Redis at {n.Endpoint} must be checked first.");
        var majority = (nodes.Length / 2) + 1;
        return $"Redlock: fewer than {majority} of its {nodes.Length} nodes {what} in time. {string.Join(' ', problems)}".TrimEnd();
    }

    /// <summary>The error of a call that fewer than a majority answered.</summary>
    public static StoreUnavailableException Unavailable(RedlockNode[] nodes) => new(Missing(nodes, "answered"));
}
