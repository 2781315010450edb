namespace Scheduler.Locking;

/// <summary>What a lease store can promise, known before it is contacted.</summary>
/// <param name="Name">The backend's name in the configuration, for example <c>redis</c>.</param>
/// <param name="Level">The level that it reaches at best; <see cref="LeaseStoreInfo.Level"/> tells what it reaches as set up.</param>
/// <param name="Fifo">Whether it grants in the order of asking across replicas. One that also pushes releases reports a key that others
/// were refused to the releasing replica as well, which asks only then.</param>
/// <param name="PushesReleases">Whether <see cref="ILeaseStore.SubscribeAsync"/> reports releases of other replicas.</param>
/// <param name="HostLocal">Whether all replicas must run on one host (a dead process's grants are then free at once).</param>
/// <param name="PollInterval">The longest time between two looks of somebody who waits for a key.</param>
/// <param name="MaxRenewalBatch">How many grants one call of <see cref="ILeaseStore.RenewAsync"/> may carry.</param>
/// <param name="IsEphemeral">Whether it is gone with its process, so that no State can belong to it for longer.</param>
public sealed record LeaseStoreTraits(
    string Name,
    Level Level,
    bool Fifo,
    bool PushesReleases,
    bool HostLocal,
    TimeSpan PollInterval,
    int MaxRenewalBatch,
    bool IsEphemeral = false
);

/// <summary>What is known of the past of a lock store, so that one that forgot can be told from a new one.</summary>
public enum LockStoreUse
{
    /// <summary>There is no State that could know.</summary>
    Unknown = 0,

    /// <summary>State shows that this group has never used a lock store (or a test declares it new).</summary>
    Unused,

    /// <summary>State shows that this group has used this lock store before.</summary>
    Used,
}

/// <summary>What a store found when it was checked.</summary>
/// <param name="Id">The store's random id, written into it at first use.</param>
/// <param name="Level">The level that it reaches as it is set up.</param>
/// <param name="Warnings">What an operator should know, each a whole sentence without secrets.</param>
public sealed record LeaseStoreInfo(string Id, Level Level, IReadOnlyList<string> Warnings);

/// <summary>
/// The store could not answer, or must not be used yet. The message names the endpoint, the reason and the remedy, never a secret.
/// </summary>
public sealed class StoreUnavailableException : Exception
{
    /// <summary>Creates the exception.</summary>
    /// <param name="message">Endpoint, reason and remedy, without secrets.</param>
    /// <param name="innerException">What the driver threw, if anything.</param>
    /// <param name="retryAfter">When asking again makes sense, if known.</param>
    /// <param name="permanent">Whether only a change of configuration or set-up helps, so that a starting host must stop.</param>
    public StoreUnavailableException(string message, Exception? innerException = null, TimeSpan? retryAfter = null, bool permanent = false)
        : base(message, innerException)
    {
        RetryAfter = retryAfter;
        IsPermanent = permanent;
    }

    /// <summary>When asking again makes sense, if known.</summary>
    public TimeSpan? RetryAfter { get; }

    /// <summary>Whether only a change of configuration or set-up helps.</summary>
    public bool IsPermanent { get; }
}
