using Microsoft.Extensions.Logging;

namespace Scheduler.Sqlite.Telemetry;

/// <summary>Events 2150 to 2199: the State.</summary>
internal static partial class Log
{
    [LoggerMessage(2150, LogLevel.Information, "The schema of the State {Path} went from version {From} to {To} (0: it was new)")]
    public static partial void StateMigrated(ILogger logger, string path, long from, long to);

    [LoggerMessage(
        2151,
        LogLevel.Warning,
        "Waited {Waited} for the writer lock {Path}, which another process held: it was stopped, or the disk is slow"
    )]
    public static partial void StateLockWasSlow(ILogger logger, string path, TimeSpan waited);

    [LoggerMessage(
        2152,
        LogLevel.Warning,
        "Another process has held the writer lock {Path} for {Waited} already, and calls end without an answer; 'lslocks' shows it"
    )]
    public static partial void StateLockIsStuck(ILogger logger, string path, TimeSpan waited);

    [LoggerMessage(
        2153,
        LogLevel.Error,
        "The disk under the State {Path} is full: nothing can be recorded until there is space on the file system of {Folder}"
    )]
    public static partial void StateDiskFull(ILogger logger, string path, string? folder);

    [LoggerMessage(2154, LogLevel.Information, "The State {Path} records again after its disk was full")]
    public static partial void StateDiskHasSpace(ILogger logger, string path);

    [LoggerMessage(2155, LogLevel.Warning, "The State {Path} did not close within {Limit}: another process or the disk does not answer")]
    public static partial void StateDidNotClose(ILogger logger, string path, TimeSpan limit);

    [LoggerMessage(2156, LogLevel.Warning, "A call of the State {Path} ended without an answer after {Waited}: {Doing}")]
    public static partial void StateIsSlow(ILogger logger, string path, TimeSpan waited, string doing);
}
