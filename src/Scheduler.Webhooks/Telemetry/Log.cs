using Microsoft.Extensions.Logging;

namespace Scheduler.Webhooks.Telemetry;

/// <summary>What processing logs; event ids 6000 to 6099 are stable. Nothing of a body.</summary>
internal static partial class Log
{
    [LoggerMessage(6001, LogLevel.Warning, "Event {InboxId} of source {Source} failed, attempt {Attempt}: {Error}; again in {Delay}")]
    public static partial void EventFailed(this ILogger logger, string inboxId, string source, int attempt, string error, TimeSpan delay);

    [LoggerMessage(
        6002,
        LogLevel.Error,
        "Event {InboxId} of source {Source} is dead after attempt {Attempt} and waits for a person: {Error}"
    )]
    public static partial void EventDead(this ILogger logger, string inboxId, string source, int attempt, string error);

    [LoggerMessage(6003, LogLevel.Warning, "Attempt {Attempt} at event {InboxId} ended too late: another one has begun")]
    public static partial void EventTakenUp(this ILogger logger, string inboxId, int attempt);

    [LoggerMessage(6004, LogLevel.Warning, "The end of event {InboxId} is not recorded; it is taken up again: {Reason}")]
    public static partial void EventNotEnded(this ILogger logger, string inboxId, string reason);

    [LoggerMessage(
        6005,
        LogLevel.Warning,
        "The handler of event {InboxId} of source {Source} failed after its last effect, with which the event was done; it is not tried "
            + "again: {Error}"
    )]
    public static partial void EventFailedAfterItsEnd(this ILogger logger, string inboxId, string source, string error);

    [LoggerMessage(
        6006,
        LogLevel.Warning,
        "{Count} events of source {Source} and type '{Type}' are due, the first for {Oldest}, and this replica has no handler for them. "
            + "Where no other one has it either, bring it back, or let them be ignored (POST /api/inbox/resolve); until then they hold "
            + "their orders"
    )]
    public static partial void EventsUnhandled(this ILogger logger, int count, string source, string type, TimeSpan oldest);
}
