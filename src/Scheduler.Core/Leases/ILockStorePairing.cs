using Scheduler.Locking;

namespace Scheduler.Leases;

/// <summary>Decides whether a lock store that passed its check is the one that this group uses. Thread-safe.</summary>
public interface ILockStorePairing
{
    /// <summary>What is known of the store's past, asked before each check.</summary>
    ValueTask<LockStoreUse> RecallAsync(CancellationToken cancellationToken);

    /// <summary>Pairs the store with this replica's State, after each check that passed; without that the store is not used.</summary>
    /// <param name="info">What the check found.</param>
    /// <param name="cancellationToken">Ends the call.</param>
    /// <returns>The generation of tokens, 0 to <see cref="FencingToken.MaxGeneration"/>.</returns>
    /// <exception cref="StoreUnavailableException">Living replicas have another pair.</exception>
    ValueTask<int> PairAsync(LeaseStoreInfo info, CancellationToken cancellationToken);

    /// <summary>Confirms the pair to the lock store, every 5 seconds while the store is up.</summary>
    /// <exception cref="StoreUnavailableException">The store belongs to another State now, or is not what was checked.</exception>
    ValueTask ConfirmAsync(CancellationToken cancellationToken);
}
