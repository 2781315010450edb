using Microsoft.Extensions.Logging;

namespace Scheduler.Jobs.Telemetry;

/// <summary>The log messages of jobs and the reconciler; event ids 3000 to 3099 are stable.</summary>
internal static partial class JobLog
{
    [LoggerMessage(3000, LogLevel.Warning, "{Occurrence} came {Late:0.0} s late; it is left to the reconciler")]
    public static partial void Late(ILogger logger, Runs.Occurrence occurrence, double late);

    [LoggerMessage(
        3001,
        LogLevel.Warning,
        "The manual run of '{Job}' was skipped because '{Key}' is held; without State nothing remembers it"
    )]
    public static partial void ManualSkipped(ILogger logger, string job, Locking.LockKey key);

    [LoggerMessage(
        3002,
        LogLevel.Warning,
        "Job '{Job}' ({Type}) has neither [SingleInstance] nor [EveryReplica]; it runs on every replica without a lock"
    )]
    public static partial void Unmarked(ILogger logger, string job, string type);

    [LoggerMessage(3003, LogLevel.Information, "{Occurrence} runs here now: {Why}")]
    public static partial void Launched(ILogger logger, Runs.Occurrence occurrence, string why);

    [LoggerMessage(
        3004,
        LogLevel.Warning,
        "'{Job}/{Trigger}' has more than {Limit} missed occurrences; those before {From:O} are left out"
    )]
    public static partial void MoreThanTheLimit(ILogger logger, string job, string trigger, int limit, DateTimeOffset from);

    [LoggerMessage(
        3019,
        LogLevel.Warning,
        "'{Job}/{Trigger}': {Count} missed occurrences are left out, due from {From:O} to {To:O}: CatchUp is {CatchUp}"
    )]
    public static partial void LeftOut(
        ILogger logger,
        string job,
        string trigger,
        int count,
        DateTimeOffset from,
        DateTimeOffset to,
        CatchUpRule catchUp
    );

    [LoggerMessage(
        3005,
        LogLevel.Information,
        "'{Job}/{Trigger}': {Count} occurrences came due while the one before them ran; recorded as overlapped"
    )]
    public static partial void Overlapped(ILogger logger, string job, string trigger, int count);

    [LoggerMessage(3020, LogLevel.Information, "{Occurrence} waits: '{Key}' is held for {Purpose}")]
    public static partial void Waits(ILogger logger, Runs.Occurrence occurrence, Locking.LockKey key, string purpose);

    [LoggerMessage(
        3021,
        LogLevel.Warning,
        "'{Job}/{Trigger}': a living replica has a newer definition; this replica's ({Definition}) counts for what is due until {Until:O} "
            + "and is skipped then. Finish the deployment, or stop the replicas of one of the two configurations"
    )]
    public static partial void Superseded(ILogger logger, string job, string trigger, string definition, DateTimeOffset until);

    [LoggerMessage(
        3022,
        LogLevel.Warning,
        "'{Job}/{Trigger}': no living replica has a newer definition any more; this replica's ({Definition}) counts again from now on"
    )]
    public static partial void CountsAgain(ILogger logger, string job, string trigger, string definition);

    [LoggerMessage(3023, LogLevel.Error, "{Occurrence} is orphaned: no living replica has its job. It runs when one has (run {RunId})")]
    public static partial void Orphaned(ILogger logger, Runs.Occurrence occurrence, string runId);

    [LoggerMessage(3006, LogLevel.Warning, "The reconciler waits: {Reason}")]
    public static partial void ReconcilerWaits(ILogger logger, string reason);

    [LoggerMessage(3007, LogLevel.Error, "The reconciler failed in this pass and goes on")]
    public static partial void ReconcilerFailed(ILogger logger, Exception error);

    [LoggerMessage(3008, LogLevel.Warning, "The lock store '{Store}' is not there yet: {Reason}. Trying again; no job starts before")]
    public static partial void LockStoreAbsent(ILogger logger, string store, string reason);

    [LoggerMessage(
        3009,
        LogLevel.Information,
        "Replica {Replica} of group '{Group}' is up: locks on {Locks}, records in {State}, {Jobs} jobs ({JobNames})"
    )]
    public static partial void Started(ILogger logger, string replica, string group, string locks, string state, int jobs, string jobNames);

    [LoggerMessage(3010, LogLevel.Information, "Stopping: no new fires; {Running} bodies have {Grace} to end")]
    public static partial void Stopping(ILogger logger, int running, TimeSpan grace);

    [LoggerMessage(3011, LogLevel.Warning, "The grace time is over: cancelling {Running} bodies")]
    public static partial void GraceOver(ILogger logger, int running);

    [LoggerMessage(
        3012,
        LogLevel.Error,
        "{Running} bodies did not end; their locks stay until this process is gone, and their runs run again elsewhere"
    )]
    public static partial void BodiesLeft(ILogger logger, int running);

    [LoggerMessage(
        3013,
        LogLevel.Warning,
        "Without State nothing is promised beyond one run per occurrence while replicas fire within {Longest} of each other: no "
            + "take-over, no catch-up, no history"
    )]
    public static partial void WithoutState(ILogger logger, TimeSpan longest);

    [LoggerMessage(3014, LogLevel.Warning, "The body of {Occurrence} could not be interrupted")]
    public static partial void InterruptFailed(ILogger logger, Runs.Occurrence occurrence, Exception error);

    [LoggerMessage(3015, LogLevel.Warning, "{Warning}")]
    public static partial void StoreWarning(ILogger logger, string warning);

    [LoggerMessage(3016, LogLevel.Critical, "This replica stops, only a change of configuration or set-up helps: {Problem}")]
    public static partial void Refused(ILogger logger, string problem);

    [LoggerMessage(3017, LogLevel.Warning, "The heartbeat was not written: {Reason}")]
    public static partial void HeartbeatFailed(ILogger logger, string reason);

    [LoggerMessage(3018, LogLevel.Warning, "The run {RunId} of '{Job}' cannot be started here: {Problem}")]
    public static partial void CannotLaunch(ILogger logger, string runId, string job, string problem);

    [LoggerMessage(3024, LogLevel.Error, "This replica does not fire: {Problem}")]
    public static partial void ClockOff(ILogger logger, string problem);

    [LoggerMessage(3025, LogLevel.Information, "This replica fires again: its wall clock is right")]
    public static partial void ClockRight(ILogger logger);

    [LoggerMessage(
        3026,
        LogLevel.Warning,
        "The wall clock of this replica was set back; its {Triggers} schedules go on from what it shows now"
    )]
    public static partial void ClockSet(ILogger logger, int triggers);

    [LoggerMessage(3030, LogLevel.Warning, "Take-over: {Occurrence} goes on here; {Why}")]
    public static partial void TakingOver(ILogger logger, Runs.Occurrence occurrence, string why);

    [LoggerMessage(3031, LogLevel.Information, "Replica {Member} is in the group ({MemberId})")]
    public static partial void MemberSeen(ILogger logger, string member, string memberId);

    [LoggerMessage(3032, LogLevel.Information, "Replica {Member} has left the group ({MemberId})")]
    public static partial void MemberLeft(ILogger logger, string member, string memberId);

    [LoggerMessage(
        3027,
        LogLevel.Warning,
        "Quartz goes by a {Clock} that was added after UseSingleInstance, not by the group's time: where this replica's clock differs from "
            + "the others', its fires come earlier or later than theirs. Add the clock before"
    )]
    public static partial void OtherClock(ILogger logger, string clock);

    [LoggerMessage(
        3033,
        LogLevel.Warning,
        "Replica {Member} is gone without a goodbye ({MemberId}): its last heartbeat was {Age:0} s ago. This replica goes on; "
            + "runs that it left open are taken over"
    )]
    public static partial void MemberGone(ILogger logger, string member, string memberId, double age);

    [LoggerMessage(3034, LogLevel.Warning, "Replica {Member} is back ({MemberId}); it was frozen or could not reach State")]
    public static partial void MemberBack(ILogger logger, string member, string memberId);
}
