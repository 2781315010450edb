namespace Scheduler.Inbox;

/// <summary>Where an event of the inbox stands.</summary>
public enum InboxState
{
    /// <summary>It waits to be processed.</summary>
    Received = 0,

    /// <summary>A replica has taken it; taken up by another one when that does not finish it in time.</summary>
    Processing,

    /// <summary>An attempt failed; it waits for the next.</summary>
    Failed,

    /// <summary>Its effect is there. Final.</summary>
    Done,

    /// <summary>No handler takes its type. Final.</summary>
    Ignored,

    /// <summary>Its attempts are used up; it waits for a person.</summary>
    Dead,

    /// <summary>It has the event id or the dedupe key of another event and other content; it waits for a person.</summary>
    Conflict,

    /// <summary>It is genuine, but no JSON or without a key; it waits for a person.</summary>
    Quarantined,
}
