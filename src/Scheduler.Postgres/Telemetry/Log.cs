using Microsoft.Extensions.Logging;

namespace Scheduler.Postgres.Telemetry;

/// <summary>Events 2200 to 2299: PostgreSQL.</summary>
internal static partial class Log
{
    [LoggerMessage(2200, LogLevel.Information, "The schema of {What} in {Place} went from version {From} to {To} (0: it was new)")]
    public static partial void Migrated(ILogger logger, string what, string place, int from, int to);

    [LoggerMessage(2201, LogLevel.Warning, "Level.Efficiency is all that {What} in {Place} gives: {Reason}")]
    public static partial void Weak(ILogger logger, string what, string place, string reason);

    [LoggerMessage(
        2202,
        LogLevel.Information,
        "{Place} takes no start-up options, as a transaction-pooling proxy: its time limits are set within each transaction"
    )]
    public static partial void NoStartupOptions(ILogger logger, string place);

    [LoggerMessage(2203, LogLevel.Warning, "A call to {Place} is tried again: {Reason}")]
    public static partial void Retried(ILogger logger, string place, string reason);

    [LoggerMessage(2204, LogLevel.Warning, "{Count} grouped calls to {Place} failed together and are sent one by one: {Reason}")]
    public static partial void GroupSplit(ILogger logger, int count, string place, string reason);

    [LoggerMessage(2205, LogLevel.Information, "Signals of other replicas are heard at {Endpoint}")]
    public static partial void Heard(ILogger logger, string endpoint);

    [LoggerMessage(2206, LogLevel.Warning, "Signals of other replicas are not heard at {Endpoint}; {Instead} until they are: {Reason}")]
    public static partial void Deaf(ILogger logger, string endpoint, string instead, string reason);

    [LoggerMessage(2207, LogLevel.Debug, "Rows of idle keys stay for now in {Place}: {Reason}")]
    public static partial void IdleRowsStay(ILogger logger, string place, string reason);
}
