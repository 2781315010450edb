using Microsoft.Extensions.Logging;

namespace Scheduler.Redis.Telemetry;

/// <summary>Everything that the Redis store logs; event ids 2000 to 2099 are stable. Never a connection string.</summary>
internal static partial class Log
{
    [LoggerMessage(
        2000,
        LogLevel.Warning,
        "The connection to Redis at {Endpoint} failed ({FailureType}); {Suppressed} earlier ones were not logged."
    )]
    public static partial void ConnectionFailed(this ILogger logger, string endpoint, string failureType, int suppressed);

    [LoggerMessage(2001, LogLevel.Information, "The connection to Redis at {Endpoint} is back.")]
    public static partial void ConnectionRestored(this ILogger logger, string endpoint);

    [LoggerMessage(2002, LogLevel.Information, "Redis at {Endpoint} is checked: store {StoreId}, {Found}.")]
    public static partial void Checked(this ILogger logger, string endpoint, string storeId, string found);

    [LoggerMessage(
        2003,
        LogLevel.Warning,
        "Redis at {Endpoint} may have forgotten grants ({Found}); nothing is granted for another {Remaining}."
    )]
    public static partial void MayHaveForgotten(this ILogger logger, string endpoint, string found, TimeSpan remaining);

    [LoggerMessage(2004, LogLevel.Warning, "Redis at {Endpoint} does not push releases ({Reason}); waiting goes on by polling.")]
    public static partial void SubscriptionBroken(this ILogger logger, string endpoint, string reason);

    [LoggerMessage(2005, LogLevel.Error, "A subscriber of released keys threw; the others are told all the same.")]
    public static partial void SubscriberFailed(this ILogger logger, Exception exception);

    [LoggerMessage(2006, LogLevel.Warning, "Redis at {Endpoint} was silent for {Count} checks in a row; connecting anew.")]
    public static partial void Reconnecting(this ILogger logger, string endpoint, int count);

    [LoggerMessage(2007, LogLevel.Warning, "Redis at {Endpoint}: {Warning}")]
    public static partial void SetUpWarning(this ILogger logger, string endpoint, string warning);
}
