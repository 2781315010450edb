using Microsoft.Extensions.Logging;

namespace Scheduler.Postgres.Telemetry;

/// <summary>Events 2230 to 2249: locks of PostgreSQL's sessions.</summary>
internal static partial class Log
{
    [LoggerMessage(2230, LogLevel.Information, "The session {ProcessId} of {Place} has this replica's locks")]
    public static partial void SessionOpened(ILogger logger, int processId, string place);

    [LoggerMessage(
        2231,
        LogLevel.Error,
        "The session of {Place} has ended, and {Leases} leases of this replica with it; a new one is opened with the next check: {Reason}"
    )]
    public static partial void SessionEnded(ILogger logger, string place, int leases, string reason);

    [LoggerMessage(2232, LogLevel.Warning, "Notes of what is held, or the end of it, did not reach {Place}; tried again: {Reason}")]
    public static partial void UpkeepFailed(ILogger logger, string place, string reason);

    [LoggerMessage(
        2233,
        LogLevel.Warning,
        "{Replica} has not renewed '{Key}' for longer than it may hold it (revoked: {Revoked}): its session was ended, with all its leases"
    )]
    public static partial void HolderEnded(ILogger logger, string replica, string key, bool revoked);

    [LoggerMessage(
        2234,
        LogLevel.Warning,
        "'{Key}' cannot be locked while '{OtherKey}' of group '{OtherGroup}' is: their locks have one number, {Word}. Rename one of them"
    )]
    public static partial void SameNumber(ILogger logger, string key, string otherKey, string otherGroup, long word);

    [LoggerMessage(
        2236,
        LogLevel.Warning,
        "{Replica} has not renewed '{Key}' for longer than it may hold it, but its session could not be ended: {Reason}"
    )]
    public static partial void HolderNotEnded(ILogger logger, string replica, string key, string reason);

    [LoggerMessage(2235, LogLevel.Debug, "Whether holders of locks in {Place} have died could not be asked; tried again: {Reason}")]
    public static partial void WatchFailed(ILogger logger, string place, string reason);
}
