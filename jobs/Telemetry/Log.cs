using Microsoft.Extensions.Logging;

namespace Payments.Jobs.Telemetry;

/// <summary>What the payments jobs log; event ids 5000 to 5099 are theirs and stable.</summary>
internal static partial class Log
{
    [LoggerMessage(
        5000,
        LogLevel.Information,
        "Imported {File}: {Imported} new payments, {AlreadyKnown} known already, {Rejected} lines rejected; moved to {MovedTo}"
    )]
    public static partial void FileImported(ILogger logger, string file, long imported, long alreadyKnown, long rejected, string movedTo);

    [LoggerMessage(5001, LogLevel.Warning, "{File} is no payments file: {Reason}; moved to {MovedTo}")]
    public static partial void FileRejected(ILogger logger, string file, string reason, string? movedTo);

    [LoggerMessage(5002, LogLevel.Debug, "A batch of {Lines} lines of {File} is committed")]
    public static partial void BatchImported(ILogger logger, string file, int lines);

    [LoggerMessage(5003, LogLevel.Information, "{File} changed while it was read; it stays in the inbox and is read again")]
    public static partial void FileChanged(ILogger logger, string file);

    [LoggerMessage(5004, LogLevel.Information, "{File} is no longer in the inbox; somebody else moved it")]
    public static partial void FileGone(ILogger logger, string file);

    [LoggerMessage(5005, LogLevel.Error, "{File} could not be imported; it stays in the inbox and the next run tries again")]
    public static partial void FileFailed(ILogger logger, string file, Exception exception);

    [LoggerMessage(5006, LogLevel.Warning, "{Rejected} lines of {File} were rejected; they are listed with the reasons in {List}")]
    public static partial void LinesRejected(ILogger logger, string file, long rejected, string list);

    [LoggerMessage(5010, LogLevel.Information, "Settled {Payments} payments in {Payouts} payouts: {Totals} (minor units), token {Token}")]
    public static partial void Settled(ILogger logger, long payments, long payouts, string totals, long token);

    [LoggerMessage(5020, LogLevel.Information, "Exported the sales of {Day}, {Payments} payments, to {Path}")]
    public static partial void ReportExported(ILogger logger, string day, long payments, string path);

    [LoggerMessage(5021, LogLevel.Debug, "All sales reports are up to date")]
    public static partial void ReportsUpToDate(ILogger logger);

    [LoggerMessage(5030, LogLevel.Information, "Deleted {Runs} runs that finished before {FinishedBefore}")]
    public static partial void Pruned(ILogger logger, long runs, DateTimeOffset finishedBefore);

    [LoggerMessage(
        5031,
        LogLevel.Information,
        "Inbox: dropped {Bodies} bodies of events that finished before {BodiesBefore}, {Dead} of dead ones that came before {DeadBefore}, "
            + "and of {Quarantined} quarantined events beyond {Most} of a source; deleted {Events} events that finished before {KeysBefore}"
    )]
    public static partial void InboxPruned(
        ILogger logger,
        long bodies,
        DateTimeOffset bodiesBefore,
        long dead,
        DateTimeOffset deadBefore,
        long quarantined,
        int most,
        long events,
        DateTimeOffset? keysBefore
    );

    [LoggerMessage(5032, LogLevel.Information, "Forgot {Effects} effects and {Fences} fences that nothing can come again for")]
    public static partial void EffectsPruned(ILogger logger, long effects, long fences);

    [LoggerMessage(5040, LogLevel.Information, "Put the sample file {File} into the inbox")]
    public static partial void SampleCopied(ILogger logger, string file);

    [LoggerMessage(5050, LogLevel.Debug, "{Events} events of webhooks were compared with the payments: no difference")]
    public static partial void NoDifferences(ILogger logger, int events);

    [LoggerMessage(
        5051,
        LogLevel.Warning,
        "{Events} events of webhooks were compared with the payments: {Differences}; they are listed in {Report}"
    )]
    public static partial void Differences(ILogger logger, int events, string differences, string report);

    [LoggerMessage(5052, LogLevel.Warning, "Only the newest {Events} events of webhooks of the last {Window} were compared")]
    public static partial void NotAllCompared(ILogger logger, int events, TimeSpan window);
}
