namespace Scheduler.Leases;

/// <summary>Why a lease was lost.</summary>
public enum LossReason
{
    /// <summary>It is not lost.</summary>
    None = 0,

    /// <summary>Its deadline passed without a confirmed renewal.</summary>
    DeadlinePassed,

    /// <summary>The store said that the grant is gone.</summary>
    StoreLost,

    /// <summary>A forced release revoked it.</summary>
    Revoked,

    /// <summary>The server's wall clock jumped beyond the drift allowance, so its expiry cannot be trusted.</summary>
    ServerClockJumped,

    /// <summary>The provider that renewed it was disposed of while the lease was held.</summary>
    ProviderDisposed,
}
