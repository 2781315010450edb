using Microsoft.Extensions.Logging;

namespace Scheduler.Sqlite.Telemetry;

/// <summary>The messages of the SQLite backends. Events 2100 to 2119: leases.</summary>
internal static partial class Log
{
    [LoggerMessage(2100, LogLevel.Information, "Replica {DeadReplica} is gone, so its lease on {Key} ended before its time")]
    public static partial void DeadReplicaLostLease(ILogger logger, string deadReplica, string key);

    [LoggerMessage(2101, LogLevel.Warning, "The SQLite locks {Path} did not close within {Limit}; another process may be frozen")]
    public static partial void LockQueueDidNotEnd(ILogger logger, string path, TimeSpan limit);

    [LoggerMessage(2102, LogLevel.Warning, "The files of the SQLite locks {Path} were not closed cleanly")]
    public static partial void LockFilesNotClosed(ILogger logger, string path, Exception problem);
}
