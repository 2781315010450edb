using Scheduler.Locking;

namespace Scheduler.Leases;

/// <summary>Whether the lock store answers.</summary>
/// <param name="IsUp">Whether calls are sent to it.</param>
/// <param name="Reason">While it is down: why, without secrets.</param>
/// <param name="Since">When this began, by the replica's wall clock.</param>
public sealed record StoreHealth(bool IsUp, string? Reason, DateTimeOffset Since);

/// <summary>
/// Takes distributed locks for this replica and keeps their leases alive. One per lock store and process; thread-safe.
/// </summary>
/// <remarks>
/// Guarantees: a granted lease says itself when it must not be trusted any more (<see cref="Lease.IsHeld"/>), before the store can grant
/// the key to another. No call takes longer than its time limit; while the store counts as down (after a time-out or a refused
/// connection) calls are answered <see cref="LockAttempt.Unavailable"/> at once, until a probe answers.
/// </remarks>
public interface ILockProvider
{
    /// <summary>What the store can promise.</summary>
    LeaseStoreTraits Traits { get; }

    /// <summary>What the last successful check found; <see langword="null"/> before the first.</summary>
    LeaseStoreInfo? Info { get; }

    /// <summary>Whether the store answers.</summary>
    StoreHealth Health { get; }

    /// <summary>Asks for the key once, without waiting.</summary>
    /// <param name="key">What to lock.</param>
    /// <param name="purpose">Which occurrence or request the grant serves; at most 1,024 characters.</param>
    /// <param name="duration">How long the lease lasts without renewal; default <see cref="LeaseOptions.LeaseDuration"/>.</param>
    /// <param name="cancellationToken">Ends the attempt; what may have been granted is dropped in the background.</param>
    ValueTask<LockAttempt> TryAcquireAsync(
        LockKey key,
        string purpose,
        TimeSpan? duration = null,
        CancellationToken cancellationToken = default
    );

    /// <summary>Asks for the key and waits for it, woken by pushed releases, at most for <paramref name="wait"/>.</summary>
    /// <param name="key">What to lock.</param>
    /// <param name="purpose">Which occurrence or request the grant serves; at most 1,024 characters.</param>
    /// <param name="wait">The longest wait; zero asks once.</param>
    /// <param name="duration">How long the lease lasts without renewal; default <see cref="LeaseOptions.LeaseDuration"/>.</param>
    /// <param name="cancellationToken">Ends the wait; what may have been granted is dropped in the background.</param>
    ValueTask<LockAttempt> AcquireAsync(
        LockKey key,
        string purpose,
        TimeSpan wait,
        TimeSpan? duration = null,
        CancellationToken cancellationToken = default
    );

    /// <summary>Shows the grant of a key, or <see langword="null"/>.</summary>
    /// <exception cref="StoreUnavailableException">The store could not answer in time.</exception>
    ValueTask<LeaseRecord?> ReadAsync(LockKey key, CancellationToken cancellationToken = default);

    /// <summary>Shows the grants whose key starts with a prefix.</summary>
    /// <exception cref="StoreUnavailableException">The store could not answer in time.</exception>
    ValueTask<LeasePage> ListAsync(string prefix, int limit, string? cursor = null, CancellationToken cancellationToken = default);

    /// <summary>Forced release: revokes the present grant of a key (see <see cref="ILeaseStore.RevokeAsync"/>).</summary>
    /// <exception cref="StoreUnavailableException">The store could not answer in time.</exception>
    ValueTask<RevokeResult> RevokeAsync(LockKey key, CancellationToken cancellationToken = default);

    /// <summary>Reports keys that may be free now: releases in this process at once, others as the store pushes them.</summary>
    /// <param name="mayBeFree">Returns at once and never throws; called on any thread.</param>
    /// <returns>Ends the reports when it is disposed of.</returns>
    IDisposable Watch(Action<LockKey> mayBeFree);
}
