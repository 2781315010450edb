namespace Scheduler.Inbox;

/// <summary>
/// Tells the replicas of a group that the inbox may have something due, at once and without a promise: a signal may be lost, so nothing
/// depends on one. Thread-safe.
/// </summary>
public interface IInboxFeed
{
    /// <summary>Whether this replica hears the others, as it found by itself a few seconds ago.</summary>
    bool IsHeard { get; }

    /// <summary>Raised when this or another replica has told, and when signals may have been lost. Handlers return at once and never
    /// throw.</summary>
    event Action? Heard;

    /// <summary>Tells this replica and the others, after a commit. Returns at once, never throws; many calls become one signal.</summary>
    void Send();
}
