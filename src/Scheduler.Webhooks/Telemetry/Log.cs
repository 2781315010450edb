using Microsoft.Extensions.Logging;

namespace Scheduler.Webhooks.Telemetry;

/// <summary>What processing logs; event ids 5000 to 5099. Nothing of a body.</summary>
internal static partial class Log
{
    [LoggerMessage(5001, LogLevel.Warning, "Event {InboxId} of source {Source} failed, attempt {Attempt}: {Error}; again in {Delay}")]
    public static partial void EventFailed(this ILogger logger, string inboxId, string source, int attempt, string error, TimeSpan delay);

    [LoggerMessage(
        5002,
        LogLevel.Error,
        "Event {InboxId} of source {Source} is dead after attempt {Attempt} and waits for a person: {Error}"
    )]
    public static partial void EventDead(this ILogger logger, string inboxId, string source, int attempt, string error);

    [LoggerMessage(5003, LogLevel.Warning, "Attempt {Attempt} at event {InboxId} ended too late: another one has begun")]
    public static partial void EventTakenUp(this ILogger logger, string inboxId, int attempt);

    [LoggerMessage(5004, LogLevel.Warning, "The end of event {InboxId} is not recorded; it is taken up again: {Reason}")]
    public static partial void EventNotEnded(this ILogger logger, string inboxId, string reason);

    [LoggerMessage(
        5005,
        LogLevel.Warning,
        "The handler of event {InboxId} of source {Source} failed after its last effect, with which the event was done; it is not tried "
            + "again: {Error}"
    )]
    public static partial void EventFailedAfterItsEnd(this ILogger logger, string inboxId, string source, string error);
}
