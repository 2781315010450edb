using Scheduler.Locking;
using Scheduler.Runs;

namespace Scheduler.Worker.Operations;

/// <summary>A page of a list.</summary>
internal sealed record ListView<T>(IReadOnlyList<T> Items, string? Next);

/// <summary>Answer of the health addresses; reasons only where the caller may see them.</summary>
internal sealed record HealthView(string Status, IReadOnlyList<string>? Reasons);

/// <summary>A schedule and its next time. <paramref name="SupersededAt"/>: from when on this replica skips it, because a living replica
/// has a newer definition.</summary>
internal sealed record TriggerView(
    string Name,
    string? Cron,
    string? TimeZone,
    TimeSpan? Every,
    DateTimeOffset? NextFireAt,
    DateTimeOffset? SupersededAt
);

/// <summary>The newest run of a job.</summary>
internal sealed record LastRunView(string Id, RunState State, DateTimeOffset ScheduledAt, DateTimeOffset? FinishedAt);

/// <summary>A change of a pause. <paramref name="Since"/> and <paramref name="Until"/> are of the pause that lasts or has ended, by State's
/// clock; null when a job was resumed that was not paused.</summary>
internal sealed record PauseView(string Job, bool Paused, DateTimeOffset? Since, DateTimeOffset? Until);

/// <summary>A job as this replica has it. <paramref name="LastRunUnknown"/> says why there is no last run when State did not
/// answer.</summary>
internal sealed record JobView(
    string Name,
    string Identity,
    string Type,
    string Runs,
    string? Key,
    TimeSpan? Lease,
    Level? Level,
    IReadOnlyList<TriggerView> Triggers,
    DateTimeOffset? NextFireAt,
    DateTimeOffset? PausedSince,
    LastRunView? LastRun,
    string? LastRunUnknown
);

/// <summary>A run. Token 0 and replica null: no attempt has begun.</summary>
internal record RunView
{
    public required string Id { get; init; }
    public required string Job { get; init; }
    public required string Trigger { get; init; }
    public required bool Scheduled { get; init; }
    public required DateTimeOffset ScheduledAt { get; init; }
    public required string Key { get; init; }
    public required int Attempt { get; init; }
    public required FencingToken Token { get; init; }
    public required string? Replica { get; init; }
    public required RunState State { get; init; }
    public required DateTimeOffset? StartedAt { get; init; }
    public required DateTimeOffset? FinishedAt { get; init; }
    public required DateTimeOffset? NextAttemptAt { get; init; }
    public required int Failures { get; init; }
    public required int Crashes { get; init; }
    public required string? Error { get; init; }

    /// <summary>The attempts in order; in lists left out.</summary>
    [System.Text.Json.Serialization.JsonIgnore(Condition = System.Text.Json.Serialization.JsonIgnoreCondition.WhenWritingNull)]
    public IReadOnlyList<AttemptView>? Attempts { get; init; }

    /// <summary>What happened to the run, in order of time; in lists left out.</summary>
    [System.Text.Json.Serialization.JsonIgnore(Condition = System.Text.Json.Serialization.JsonIgnoreCondition.WhenWritingNull)]
    public IReadOnlyList<EventView>? Events { get; init; }

    public static RunView From(RunRecord run, IReadOnlyList<RunAttempt>? attempts = null, IReadOnlyList<RunEvent>? events = null) =>
        new()
        {
            Id = run.Id,
            Job = run.Job,
            Trigger = run.Trigger,
            Scheduled = run.IsScheduled,
            ScheduledAt = run.ScheduledAt,
            Key = run.LockKey.Value,
            Attempt = run.Attempt,
            Token = run.Token,
            Replica = run.Replica,
            State = run.State,
            StartedAt = run.StartedAt,
            FinishedAt = run.FinishedAt,
            NextAttemptAt = run.NextAttemptAt,
            Failures = run.Failures,
            Crashes = run.Crashes,
            Error = run.Error,
            Attempts = attempts?.Select(a => new AttemptView(a.Attempt, a.Token, a.Replica, a.StartedAt, a.EndedAt, a.Outcome)).ToList(),
            Events = events?.Select(e => new EventView(e.At, e.Kind, e.Attempt, e.Token, e.Replica, e.Detail)).ToList(),
        };
}

/// <summary>Something that happened to a run.</summary>
internal sealed record EventView(DateTimeOffset At, RunEventKind Kind, int Attempt, FencingToken Token, string Replica, string? Detail);

/// <summary>One attempt of a run; without end and outcome it runs, or its replica died.</summary>
internal sealed record AttemptView(
    int Attempt,
    FencingToken Token,
    string Replica,
    DateTimeOffset StartedAt,
    DateTimeOffset? EndedAt,
    RunOutcome? Outcome
);

/// <summary>A grant as the lock store shows it; <paramref name="Number"/> is the store's part of the token.</summary>
internal sealed record LockView(string Key, string Holder, string Purpose, string Number, double RemainingSeconds, bool Revoked);

/// <summary>A replica of the group.</summary>
internal sealed record ReplicaView(
    string Id,
    string Name,
    string Status,
    DateTimeOffset? StartedAt,
    string? OperationsUrl,
    IReadOnlyList<string> Jobs,
    DateTimeOffset WallClock,
    double HeartbeatAgeSeconds,
    bool IsThis
);
