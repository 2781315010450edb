using Scheduler.Locking;
using Scheduler.Runs;

namespace Scheduler.Jobs;

/// <summary>A job of the group: its name is its identity (lock key, ledger), unless it has former ones; the class may be renamed.</summary>
/// <param name="Name">The identity; 1 to 200 characters.</param>
/// <param name="Type">The class; an <see cref="Quartz.IJob"/> with <see cref="SingleInstanceAttribute"/> or
/// <see cref="EveryReplicaAttribute"/>.</param>
/// <param name="Triggers">Its schedules, equal on all replicas.</param>
public sealed record JobDefinition(string Name, Type Type, IReadOnlyList<TriggerDefinition> Triggers)
{
    /// <summary>
    /// What the job was called before, the oldest first: its identity stays that one, so that replicas of both configurations, and its
    /// history, meet. Each 1 to 200 characters; no other job may have it. Default: none.
    /// </summary>
    public IReadOnlyList<string> FormerNames { get; init; } = [];

    /// <summary>What locks, triggers and ledger call the job: the oldest of its names.</summary>
    public string Identity => FormerNames is [var oldest, ..] ? oldest : Name;

    /// <summary>Overrides <see cref="SingleInstanceAttribute.Lease"/>.</summary>
    public TimeSpan? Lease { get; init; }

    /// <summary>Overrides <see cref="SingleInstanceAttribute.OnCrash"/>.</summary>
    public OnCrash? OnCrash { get; init; }

    /// <summary>Overrides <see cref="SingleInstanceAttribute.MaxCrashes"/>.</summary>
    public int? MaxCrashes { get; init; }

    /// <summary>Overrides <see cref="SingleInstanceAttribute.KeepLog"/>.</summary>
    public int? KeepLog { get; init; }

    /// <summary>Overrides <see cref="SingleInstanceAttribute.MaxAttempts"/>.</summary>
    public int? MaxAttempts { get; init; }

    /// <summary>Overrides <see cref="SingleInstanceAttribute.RetryDelay"/>.</summary>
    public TimeSpan? RetryDelay { get; init; }

    /// <summary>Overrides <see cref="SingleInstanceAttribute.RetryBackoff"/>.</summary>
    public RetryBackoff? RetryBackoff { get; init; }

    /// <summary>Overrides <see cref="SingleInstanceAttribute.RetryMaxDelay"/>.</summary>
    public TimeSpan? RetryMaxDelay { get; init; }

    /// <summary>Overrides <see cref="SingleInstanceAttribute.RetryJitter"/>.</summary>
    public double? RetryJitter { get; init; }

    /// <summary>Overrides <see cref="SingleInstanceAttribute.OnOverlap"/>.</summary>
    public OnOverlap? OnOverlap { get; init; }

    /// <summary>Overrides <see cref="SingleInstanceAttribute.CatchUp"/>.</summary>
    public CatchUp? CatchUp { get; init; }

    /// <summary>Overrides <see cref="SingleInstanceAttribute.CatchUpWithin"/>.</summary>
    public TimeSpan? CatchUpWithin { get; init; }

    /// <summary>Overrides <see cref="SingleInstanceAttribute.CatchUpLimit"/>.</summary>
    public int? CatchUpLimit { get; init; }

    /// <summary>Overrides <see cref="SingleInstanceAttribute.Level"/>.</summary>
    public Level? Level { get; init; }

    /// <summary>The key template that its runs lock, or <see langword="null"/> for a job without a lock.</summary>
    public string? LockKeyTemplate =>
        JobPolicy.Find<SingleInstanceAttribute>(Type) is { } attribute ? attribute.Key ?? $"job:{Uri.EscapeDataString(Identity)}" : null;
}

/// <summary>A schedule. Exactly one of <paramref name="Cron"/> and <paramref name="Every"/> is set.</summary>
/// <param name="Name">Unique within the job; 1 to 200 characters; not <c>manual</c>.</param>
/// <param name="Cron">A Quartz cron expression (with seconds).</param>
/// <param name="Every">An interval of whole milliseconds, at least 1 s and at most 7 days, aligned to a grid that begins at 1970-01-01
/// UTC, so that it
/// is the same on all replicas.</param>
/// <param name="TimeZone">The time zone of the cron expression.</param>
/// <param name="Data">Job data.</param>
public sealed record TriggerDefinition(
    string Name,
    string? Cron,
    TimeSpan? Every,
    TimeZoneInfo TimeZone,
    IReadOnlyDictionary<string, string> Data
);

/// <summary>The configuration cannot be used; every problem is listed, each with place, value and what is allowed.</summary>
public sealed class SchedulerConfigurationException : Exception
{
    /// <summary>Creates the exception.</summary>
    /// <param name="problems">All that is wrong.</param>
    public SchedulerConfigurationException(IReadOnlyList<string> problems)
        : base(string.Join(Environment.NewLine, problems)) => Problems = problems;

    /// <summary>All that is wrong.</summary>
    public IReadOnlyList<string> Problems { get; }
}
