namespace Scheduler.Locking;

/// <summary>One attempt to take a key.</summary>
/// <param name="Key">What is locked.</param>
/// <param name="Owner">The owner value; unique per acquisition.</param>
/// <param name="Purpose">Which occurrence or request the grant serves; at most 1,024 characters; shown to those who find the key
/// held.</param>
/// <param name="Duration">How long the grant lasts without a renewal; at least 50 ms.</param>
public readonly record struct AcquireRequest(LockKey Key, LeaseOwner Owner, string Purpose, TimeSpan Duration)
{
    /// <summary>Whether the replica waits and asks again when the key is held: a store that grants in the order of asking keeps its place.
    /// Default: no.</summary>
    public bool Waits { get; init; }

    /// <summary>Whether others of the replica wait for the key besides: a store that grants in the order of asking puts the replica at the
    /// end of the line with the grant, so that it need not ask for that. Default: no.</summary>
    public bool OthersWait { get; init; }
}

/// <summary>What a store answered to <see cref="ILeaseStore.AcquireAsync"/>: one of the three nested cases.</summary>
public abstract record AcquireResult
{
    private AcquireResult() { }

    /// <summary>The key is the caller's.</summary>
    /// <param name="Number">The store's number of the grant; larger than every earlier one of the key; 1 to
    /// <see cref="FencingToken.MaxNumber"/>.</param>
    /// <param name="ServerTime">The server's wall clock, where the store expires by it; else <see langword="null"/>.</param>
    public sealed record Granted(long Number, DateTimeOffset? ServerTime = null) : AcquireResult;

    /// <summary>Somebody else has the key. A result, not an error.</summary>
    /// <param name="Holder">The holder's replica id; of a store of several nodes that others are asking too, perhaps of one who was only
    /// ahead of them.</param>
    /// <param name="Purpose">What the holder's grant serves.</param>
    /// <param name="Remaining">How long the grant lasts unless it is renewed.</param>
    public sealed record Held(string Holder, string Purpose, TimeSpan Remaining) : AcquireResult;

    /// <summary>The store could not answer. An error, not contention.</summary>
    /// <param name="Reason">What is wrong and where, without secrets.</param>
    /// <param name="OutcomeUnknown">The command may have reached the store: a grant may exist and must be dropped (rule 6).</param>
    /// <param name="Cause">The exception behind it, if any.</param>
    public sealed record Unavailable(string Reason, bool OutcomeUnknown = false, Exception? Cause = null) : AcquireResult;
}
