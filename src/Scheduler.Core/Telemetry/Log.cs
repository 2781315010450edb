using Microsoft.Extensions.Logging;
using Scheduler.Leases;
using Scheduler.Locking;

namespace Scheduler.Telemetry;

/// <summary>The log messages of Core. Event ids are stable: leases 1000 to 1099.</summary>
internal static partial class Log
{
    [LoggerMessage(
        1000,
        LogLevel.Warning,
        "The lock store {Store} counts as down: {Reason} Calls are answered as unavailable at once until a probe succeeds."
    )]
    public static partial void StoreDown(ILogger log, Exception? cause, string store, string reason);

    [LoggerMessage(1001, LogLevel.Information, "The lock store {Store} answers (id {Id}, level {Level}).")]
    public static partial void StoreUp(ILogger log, string store, string id, Level level);

    [LoggerMessage(1002, LogLevel.Warning, "The lock store {Store}: {Warning}")]
    public static partial void StoreWarning(ILogger log, string store, string warning);

    [LoggerMessage(1003, LogLevel.Warning, "The lease on {Key} for {Purpose} under token {Token} is lost: {Reason}.")]
    public static partial void LeaseLost(ILogger log, LockKey key, string purpose, FencingToken token, LossReason reason);

    [LoggerMessage(1004, LogLevel.Error, "A callback on the loss of the lease on {Key} failed; the other callbacks ran.")]
    public static partial void LostCallbackFailed(ILogger log, Exception cause, LockKey key);

    [LoggerMessage(
        1005,
        LogLevel.Warning,
        "The handle of the lease on {Key} for {Purpose} was collected without a release: it is renewed no more and dropped. "
            + "Dispose of leases."
    )]
    public static partial void LeaseAbandoned(ILogger log, LockKey key, string purpose);

    [LoggerMessage(1006, LogLevel.Error, "The clock of the lock store {Store} jumped by {Jump}: its {Count} leases held here are ended.")]
    public static partial void ServerClockJumped(ILogger log, string store, TimeSpan jump, int count);

    [LoggerMessage(
        1007,
        LogLevel.Error,
        "More than {Limit} grants of unknown outcome wait to be dropped (MaxPendingDrops); further ones are left to expire, first {Key}."
    )]
    public static partial void DropsOverflow(ILogger log, int limit, LockKey key);

    [LoggerMessage(1008, LogLevel.Information, "A grant of {Key} that came too late or was not wanted any more is dropped.")]
    public static partial void LateGrant(ILogger log, LockKey key);

    [LoggerMessage(
        1009,
        LogLevel.Warning,
        "Subscribing to releases of the lock store {Store} failed; waiters poll until it succeeds (tried again every {Interval})."
    )]
    public static partial void SubscriptionFailed(ILogger log, Exception cause, string store, TimeSpan interval);

    [LoggerMessage(1010, LogLevel.Error, "A watcher of released keys failed on {Key}; watchers must not throw.")]
    public static partial void WatcherFailed(ILogger log, Exception cause, LockKey key);

    [LoggerMessage(1011, LogLevel.Critical, "The watchdog of the lock store {Store} met an error of its own and goes on.")]
    public static partial void WatchdogFailed(ILogger log, Exception cause, string store);

    [LoggerMessage(1012, LogLevel.Debug, "Renewing {Count} leases had no usable answer: {Reason}")]
    public static partial void RenewalUnanswered(ILogger log, int count, string reason);

    [LoggerMessage(
        1013,
        LogLevel.Warning,
        "Whether the grant of {Key} is gone was not confirmed; its time is over twice, so it is given up."
    )]
    public static partial void DropGivenUp(ILogger log, LockKey key);

    [LoggerMessage(1014, LogLevel.Error, "The background work {Work} of the lock store {Store} met an error of its own and goes on.")]
    public static partial void BackgroundFailed(ILogger log, Exception cause, string work, string store);
}
