using Scheduler.Leases;
using Scheduler.Locking;

namespace Scheduler.Testing;

/// <summary>Declares a lock store new, so that it waits for nothing; it belongs to nobody.</summary>
public sealed class NewStore : ILockStorePairing
{
    public LockStoreUse Use { get; init; } = LockStoreUse.Unused;

    public ValueTask<LockStoreUse> RecallAsync(CancellationToken cancellationToken) => new(Use);

    public ValueTask<int> PairAsync(LeaseStoreInfo info, CancellationToken cancellationToken) => new(0);

    public ValueTask ConfirmAsync(CancellationToken cancellationToken) => default;
}
