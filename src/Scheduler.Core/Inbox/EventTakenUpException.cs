namespace Scheduler.Inbox;

/// <summary>Another attempt at the event has begun, or it is finished: nothing of this attempt's transaction was written.</summary>
public sealed class EventTakenUpException : Exception
{
    /// <summary>Creates the exception.</summary>
    /// <param name="eventId">The event.</param>
    /// <param name="attempt">The attempt that came too late.</param>
    public EventTakenUpException(string eventId, int attempt)
        : base(
            $"Attempt {attempt} at event {eventId} came too late: another one has begun, or the event is finished. Its transaction was "
                + "rolled back; nothing is to be done."
        )
    {
        EventId = eventId;
        Attempt = attempt;
    }

    /// <summary>The event.</summary>
    public string EventId { get; }

    /// <summary>The attempt that came too late.</summary>
    public int Attempt { get; }
}
