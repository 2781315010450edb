namespace Scheduler.Locking;

/// <summary>
/// Where grants are kept. A store does single commands and nothing else: it never waits for a key, sleeps, retries, or starts a
/// timer; waiting, time limits, the watchdog, ordering and logging are written once, in Core.
/// </summary>
/// <remarks>
/// All members are thread-safe. Each takes one round trip where the technology allows it. The group's name is given to the store when
/// it is made and stands before every key, channel and path. Errors: <see cref="AcquireAsync"/> answers
/// <see cref="AcquireResult.Unavailable"/>, every other member throws <see cref="StoreUnavailableException"/>. Cancelling a call
/// leaves its outcome unknown; Core drops what may have been granted.
/// </remarks>
public interface ILeaseStore : IAsyncDisposable
{
    /// <summary>What the store can promise.</summary>
    LeaseStoreTraits Traits { get; }

    /// <summary>
    /// Connects, checks that the store may be used (version, settings, whether it may have forgotten grants), and prepares it (tables,
    /// scripts, id). Core calls it before first use and again while the store counts as down; harmless when all is well.
    /// </summary>
    /// <param name="use">What is known of this store's past.</param>
    /// <param name="cancellationToken">Ends the check.</param>
    /// <exception cref="StoreUnavailableException">The store cannot be used now; <see cref="StoreUnavailableException.RetryAfter"/> says
    /// for how long where that is known.</exception>
    ValueTask<LeaseStoreInfo> CheckAsync(LockStoreUse use, CancellationToken cancellationToken);

    /// <summary>
    /// Shows which State this group's locks belong to, and confirms or notes one. Only after a check that passed; a store that cannot tell
    /// whether it still is what was checked throws.
    /// </summary>
    /// <param name="mark">What to write when nothing is noted, when the same State is, or when the other one was last confirmed
    /// <paramref name="replaceAfter"/> ago or earlier; the generation never falls. <see langword="null"/> only shows.</param>
    /// <param name="replaceAfter">How long a State must have been silent to be replaced.</param>
    /// <param name="cancellationToken">Ends the call.</param>
    /// <returns>What is noted after that, or <see langword="null"/> for nothing.</returns>
    ValueTask<StateMark?> PairAsync(StateMark? mark, TimeSpan replaceAfter, CancellationToken cancellationToken);

    /// <summary>Takes the key if it is free, at once.</summary>
    ValueTask<AcquireResult> AcquireAsync(AcquireRequest request, CancellationToken cancellationToken);

    /// <summary>Extends grants, never re-creates one. An item whose fate is not known is <see cref="RenewalOutcome.Unknown"/>.</summary>
    /// <param name="batch">1 to <see cref="LeaseStoreTraits.MaxRenewalBatch"/> grants.</param>
    /// <param name="cancellationToken">Ends the call; all outcomes are then unknown.</param>
    ValueTask<RenewalReply> RenewAsync(IReadOnlyList<RenewalItem> batch, CancellationToken cancellationToken);

    /// <summary>Ends the grant of this owner and reports the key as free; touches nobody else's.</summary>
    ValueTask<ReleaseResult> ReleaseAsync(LockKey key, LeaseOwner owner, CancellationToken cancellationToken);

    /// <summary>Marks the grant with this number as revoked: it cannot be renewed, and its holder confirms by releasing.</summary>
    ValueTask<RevokeResult> RevokeAsync(LockKey key, long number, CancellationToken cancellationToken);

    /// <summary>Shows the unexpired grant of a key, or <see langword="null"/>.</summary>
    ValueTask<LeaseRecord?> ReadAsync(LockKey key, CancellationToken cancellationToken);

    /// <summary>Shows the unexpired grants whose key starts with a prefix.</summary>
    /// <param name="prefix">The start of the keys; empty for all.</param>
    /// <param name="limit">1 to 1,000.</param>
    /// <param name="cursor"><see cref="LeasePage.Next"/> of the page before.</param>
    /// <param name="cancellationToken">Ends the call.</param>
    ValueTask<LeasePage> ListAsync(string prefix, int limit, string? cursor, CancellationToken cancellationToken);

    /// <summary>
    /// Reports keys of the whole group that may be free now, over one shared subscription. Reports may be lost, doubled or early.
    /// </summary>
    /// <param name="mayBeFree">Called on a thread of the store; returns at once and never throws.</param>
    /// <param name="cancellationToken">Ends the attempt to subscribe.</param>
    /// <returns>Ends the subscription when it is disposed of.</returns>
    ValueTask<IAsyncDisposable> SubscribeAsync(Action<LockKey> mayBeFree, CancellationToken cancellationToken);
}
