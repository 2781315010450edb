namespace Scheduler.Leases;

/// <summary>What came of asking for a key: one of the three nested cases.</summary>
public abstract record LockAttempt
{
    private LockAttempt() { }

    /// <summary>The key is the caller's until the lease is released or lost.</summary>
    /// <param name="Lease">The held lease; dispose of it to release the key.</param>
    public sealed record Granted(Lease Lease) : LockAttempt;

    /// <summary>Somebody else has the key (after the whole bounded wait, where one was asked for). A result, not an error.</summary>
    /// <param name="Holder">The holder's replica id.</param>
    /// <param name="Purpose">What the holder's grant serves.</param>
    /// <param name="Remaining">How long the holder's grant lasts unless it is renewed.</param>
    public sealed record Held(string Holder, string Purpose, TimeSpan Remaining) : LockAttempt;

    /// <summary>
    /// The store could not answer in time. An error, not contention; what may have been granted is dropped in the background.
    /// </summary>
    /// <param name="Reason">What is wrong, without secrets.</param>
    /// <param name="Cause">The exception behind it, if any.</param>
    public sealed record Unavailable(string Reason, Exception? Cause = null) : LockAttempt;
}
