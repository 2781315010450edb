using Scheduler.Locking;
using Scheduler.Runs;

namespace Scheduler.Sqlite.State;

/// <summary>A row of <c>runs</c> as the driver reads it.</summary>
internal class RunRow
{
    /// <summary>What a query selects for it.</summary>
    public const string Columns =
        "id AS Id, job AS Job, trigger_name AS TriggerName, kind AS Kind, scheduled_at AS ScheduledAt, lock_key AS LockKey, data AS Data, "
        + "state AS State, attempt AS Attempt, failures AS Failures, crashes AS Crashes, token AS Token, replica AS Replica, "
        + "started_at AS StartedAt, finished_at AS FinishedAt, next_attempt_at AS NextAttemptAt, error AS Error";

    /// <summary>The kind of runs that stand for an occurrence.</summary>
    public const string Scheduled = "scheduled";

    /// <summary>The condition that open runs meet; the text of the partial index.</summary>
    public const string IsOpen = "state IN ('waiting', 'running', 'interrupted', 'orphaned')";

    /// <summary>The condition that closed runs meet that did not succeed; the text of the partial indexes.</summary>
    public const string IsUnsuccessful = "state IN ('failed', 'dead', 'overlapped')";

    public string Id { get; set; } = "";
    public string Job { get; set; } = "";
    public string TriggerName { get; set; } = "";
    public string Kind { get; set; } = "";
    public long ScheduledAt { get; set; }
    public string LockKey { get; set; } = "";
    public string? Data { get; set; }
    public string State { get; set; } = "";
    public long Attempt { get; set; }
    public long Failures { get; set; }
    public long Crashes { get; set; }
    public long Token { get; set; }
    public string? Replica { get; set; }
    public long? StartedAt { get; set; }
    public long? FinishedAt { get; set; }
    public long? NextAttemptAt { get; set; }
    public string? Error { get; set; }

    public RunState StateValue => Enum.Parse<RunState>(State, ignoreCase: true);

    public RunRecord ToRecord() =>
        new()
        {
            Id = Id,
            Job = Job,
            Trigger = TriggerName,
            IsScheduled = Kind == Scheduled,
            ScheduledAt = Times.From(ScheduledAt),
            LockKey = Locking.LockKey.From(LockKey),
            Data = Data,
            State = StateValue,
            Attempt = (int)Attempt,
            Failures = (int)Failures,
            Crashes = (int)Crashes,
            Token = new FencingToken(Token),
            Replica = Replica,
            StartedAt = Times.From(StartedAt),
            FinishedAt = Times.From(FinishedAt),
            NextAttemptAt = Times.From(NextAttemptAt),
            Error = Error,
        };
}

/// <summary>A row of <c>run_attempts</c> as the driver reads it.</summary>
internal sealed class AttemptRow
{
    /// <summary>What a query selects for it.</summary>
    public const string Columns =
        "run_id AS RunId, attempt AS Attempt, token AS Token, replica AS Replica, started_at AS StartedAt, ended_at AS EndedAt, "
        + "outcome AS Outcome";

    public string RunId { get; set; } = "";
    public long Attempt { get; set; }
    public long Token { get; set; }
    public string Replica { get; set; } = "";
    public long StartedAt { get; set; }
    public long? EndedAt { get; set; }
    public string? Outcome { get; set; }

    public RunAttempt ToRecord() =>
        new(
            RunId,
            (int)Attempt,
            new FencingToken(Token),
            Replica,
            Times.From(StartedAt),
            Times.From(EndedAt),
            Outcome is null ? null : Enum.Parse<RunOutcome>(Outcome, ignoreCase: true)
        );
}

/// <summary>Times and names as the tables keep them: Unix milliseconds in UTC, names of states in lower case.</summary>
internal static class Times
{
    public static DateTimeOffset From(long milliseconds) => DateTimeOffset.FromUnixTimeMilliseconds(milliseconds);

    public static DateTimeOffset? From(long? milliseconds) => milliseconds is { } value ? From(value) : null;

    public static long Of(DateTimeOffset time) => time.ToUnixTimeMilliseconds();

    public static string Of<T>(T name)
        where T : struct, Enum => name.ToString().ToLowerInvariant();
}
