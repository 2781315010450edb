namespace Scheduler.Runs;

/// <summary>A replica's wish to use a lock store.</summary>
/// <param name="StoreId">The store's id.</param>
/// <param name="Replica">The replica's id; its own row among the members does not count.</param>
/// <param name="QuietFor">How long ago the last heartbeat of every replica with another store must be.</param>
/// <param name="LeastGeneration">The generation is not below this one; 0 to
/// <see cref="Locking.FencingToken.MaxGeneration"/>.</param>
/// <param name="IsKept">Whether it is written down; not for a store that is gone with its process.</param>
public sealed record PairRequest(string StoreId, string Replica, TimeSpan QuietFor, int LeastGeneration, bool IsKept);

/// <summary>What became of a <see cref="PairRequest"/>.</summary>
public abstract record PairResult
{
    private PairResult() { }

    /// <summary>The group uses this store.</summary>
    /// <param name="Generation">The generation of its tokens.</param>
    /// <param name="Former">The id of the store that it took the place of, if it did so now.</param>
    public sealed record Paired(int Generation, string? Former) : PairResult;

    /// <summary>Replicas may still hold leases of another store.</summary>
    /// <param name="StoreId">That store's id.</param>
    /// <param name="Replicas">The names of the replicas, with the latest heartbeat first; at least one.</param>
    /// <param name="Age">How long ago the latest heartbeat of them was.</param>
    public sealed record Taken(string StoreId, IReadOnlyList<string> Replicas, TimeSpan Age) : PairResult;
}

/// <summary>Which lock store the group uses, and the generation of its tokens. Thread-safe.</summary>
public interface IPairLedger
{
    /// <summary>The random id of this State, the same for all groups in it.</summary>
    ValueTask<string> IdAsync(CancellationToken cancellationToken);

    /// <summary>The id of the lock store that the group is paired with, or <see langword="null"/> when it has never used one.</summary>
    ValueTask<string?> RecallAsync(CancellationToken cancellationToken);

    /// <summary>
    /// Pairs the group with a lock store, at once and for all: the first one, the same one again, or another one while no replica may hold
    /// leases of a different store; then the generation rises by one.
    /// </summary>
    /// <exception cref="StateUnavailableException">The State could not answer, or the generations are used up (permanent).</exception>
    ValueTask<PairResult> PairAsync(PairRequest request, CancellationToken cancellationToken);
}
