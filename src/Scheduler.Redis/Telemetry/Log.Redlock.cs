using Microsoft.Extensions.Logging;

namespace Scheduler.Redis.Telemetry;

/// <summary>What the Redlock store logs besides; event ids 2050 to 2099.</summary>
internal static partial class Log
{
    [LoggerMessage(2050, LogLevel.Warning, "Redlock goes on without Redis at {Endpoint}: {Reason}")]
    public static partial void NodeDoesNotCount(this ILogger logger, string endpoint, string reason);

    [LoggerMessage(2051, LogLevel.Information, "Redlock counts Redis at {Endpoint}.")]
    public static partial void NodeCounts(this ILogger logger, string endpoint);

    [LoggerMessage(2052, LogLevel.Error, "Redlock: {Problem}")]
    public static partial void SameServerTwice(this ILogger logger, string problem);

    [LoggerMessage(2053, LogLevel.Information, "Redis at {Endpoint} now keeps the id {StoreId} of this Redlock; it had {Before}.")]
    public static partial void IdAdopted(this ILogger logger, string endpoint, string storeId, string before);

    [LoggerMessage(2054, LogLevel.Warning, "Bringing a node back into Redlock failed; it is tried again: {Reason}")]
    public static partial void ComingBackFailed(this ILogger logger, string reason);
}
