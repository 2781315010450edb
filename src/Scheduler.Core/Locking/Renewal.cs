namespace Scheduler.Locking;

/// <summary>One grant to renew.</summary>
/// <param name="Key">What is locked.</param>
/// <param name="Owner">The grant's owner value.</param>
/// <param name="Number">The grant's number.</param>
/// <param name="Duration">The new duration, counted by the store from its execution of the command.</param>
public readonly record struct RenewalItem(LockKey Key, LeaseOwner Owner, long Number, TimeSpan Duration);

/// <summary>What became of one renewal.</summary>
public enum RenewalOutcome
{
    /// <summary>No answer: the old deadline stays, never a later one.</summary>
    Unknown = 0,

    /// <summary>The grant lasts its new duration.</summary>
    Renewed,

    /// <summary>The grant was revoked: it is not renewed any more, and ends when its holder releases it or its time is over.</summary>
    Revoked,

    /// <summary>The store does not know the grant any more; it was not re-created.</summary>
    Lost,
}

/// <summary>The answer to a batch of renewals.</summary>
/// <param name="Outcomes">One outcome per item, in the order of the items.</param>
/// <param name="ServerTime">The server's wall clock, where the store expires by it; else <see langword="null"/>.</param>
public sealed record RenewalReply(IReadOnlyList<RenewalOutcome> Outcomes, DateTimeOffset? ServerTime = null);

/// <summary>What became of a release.</summary>
/// <param name="Released">Whether the grant was still there and is gone now.</param>
/// <param name="Contended">Whether another replica was refused the key while this grant held it.</param>
public readonly record struct ReleaseResult(bool Released, bool Contended);

/// <summary>What became of a revocation.</summary>
/// <param name="Found">Whether the named grant was there (and is revoked now).</param>
/// <param name="FreeAfter">The longest time until the key is free; zero when nothing held it.</param>
/// <param name="MayEndOthers">Whether a holder that does not confirm within that time loses everything else that its replica holds, because
/// its whole session is ended then.</param>
public readonly record struct RevokeResult(bool Found, TimeSpan FreeAfter, bool MayEndOthers = false);

/// <summary>A grant as a store shows it.</summary>
/// <param name="Key">What is locked.</param>
/// <param name="Holder">The holder's replica id.</param>
/// <param name="Purpose">What the grant serves.</param>
/// <param name="Number">The grant's number.</param>
/// <param name="Remaining">How long the grant lasts unless it is renewed.</param>
/// <param name="Revoked">Whether a forced release was asked for.</param>
public sealed record LeaseRecord(LockKey Key, string Holder, string Purpose, long Number, TimeSpan Remaining, bool Revoked);

/// <summary>A page of grants, ordered by key where the store can.</summary>
/// <param name="Items">The grants.</param>
/// <param name="Next">What to hand in for the next page; <see langword="null"/> at the end.</param>
public sealed record LeasePage(IReadOnlyList<LeaseRecord> Items, string? Next);
