using Quartz;
using Scheduler.Locking;
using Scheduler.Runs;

namespace Scheduler.Jobs;

/// <summary>What holds for one job: its attribute, overridden by its definition. Immutable and thread-safe.</summary>
internal sealed record JobPolicy
{
    /// <summary>The job's name.</summary>
    public required string Job { get; init; }

    /// <summary>The job's key in Quartz.</summary>
    public required JobKey Key { get; init; }

    /// <summary>Whether the job is locked; else the fields below mean nothing.</summary>
    public required bool IsSingleInstance { get; init; }

    /// <summary>The lock key's template.</summary>
    public required KeyTemplate LockKey { get; init; }

    /// <summary>The lease duration; <see langword="null"/> for the group's.</summary>
    public TimeSpan? Lease { get; init; }

    /// <summary>What becomes of a run whose replica died.</summary>
    public OnCrash OnCrash { get; init; }

    /// <summary>How many crashes a run survives.</summary>
    public int MaxCrashes { get; init; }

    /// <summary>How many lines of its log a run keeps.</summary>
    public int KeepLog { get; init; }

    /// <summary>How often a run is tried whose body fails.</summary>
    public RetryRule Retry { get; init; } = RetryRule.None;

    /// <summary>What becomes of occurrences that come due while one of the same trigger runs.</summary>
    public OnOverlap OnOverlap { get; init; }

    /// <summary>Which missed occurrences are made up for.</summary>
    public CatchUpRule CatchUp { get; init; } = CatchUpRule.Default;

    /// <summary>What exclusion must be worth.</summary>
    public Level Level { get; init; }

    /// <summary>Reads the policy of a job; the definition has passed <see cref="JobDefinitionValidator"/> before.</summary>
    public static JobPolicy Of(JobKey key, Type type, JobDefinition? definition)
    {
        var job = QuartzNames.JobName(key);
        var attribute = Find<SingleInstanceAttribute>(type);
        var (template, problem) = KeyTemplate.Parse(attribute?.Key ?? $"job:{Uri.EscapeDataString(job)}");
        return new JobPolicy
        {
            Job = job,
            Key = key,
            IsSingleInstance = attribute is not null,
            LockKey = template ?? throw new SchedulerConfigurationException([$"Job '{job}': {problem}"]),
            Lease = definition?.Lease ?? attribute?.LeaseDuration,
            OnCrash = definition?.OnCrash ?? attribute?.OnCrash ?? OnCrash.RunAgain,
            MaxCrashes = definition?.MaxCrashes ?? attribute?.MaxCrashes ?? 3,
            KeepLog = definition?.KeepLog ?? attribute?.KeepLog ?? 0,
            Retry = RetryOf(definition, attribute),
            OnOverlap = definition?.OnOverlap ?? attribute?.OnOverlap ?? OnOverlap.Skip,
            CatchUp = new CatchUpRule(
                definition?.CatchUp ?? attribute?.CatchUp ?? CatchUpRule.Default.Policy,
                definition?.CatchUpWithin ?? attribute?.CatchUpBound,
                definition?.CatchUpLimit ?? attribute?.CatchUpLimit ?? CatchUpRule.DefaultLimit
            ),
            Level = definition?.Level ?? attribute?.Level ?? Level.Efficiency,
        };
    }

    /// <summary>What definition and attribute say of attempts; the definition first.</summary>
    public static RetryRule RetryOf(JobDefinition? definition, SingleInstanceAttribute? attribute) =>
        new()
        {
            MaxAttempts = definition?.MaxAttempts ?? attribute?.MaxAttempts ?? RetryRule.None.MaxAttempts,
            Delay = definition?.RetryDelay ?? attribute?.RetryPause ?? RetryRule.None.Delay,
            Backoff = definition?.RetryBackoff ?? attribute?.RetryBackoff ?? RetryRule.None.Backoff,
            MaxDelay = definition?.RetryMaxDelay ?? attribute?.LongestRetryPause ?? RetryRule.None.MaxDelay,
            Jitter = definition?.RetryJitter ?? attribute?.RetryJitter ?? RetryRule.None.Jitter,
        };

    /// <summary>The key that a fire with this data locks, or what is wrong.</summary>
    public (LockKey? Key, string? Problem) KeyFor(JobDataMap data) =>
        LockKey.Fill(name =>
            data.TryGetValue(name, out var value) ? Convert.ToString(value, System.Globalization.CultureInfo.InvariantCulture) : null
        );

    internal static T? Find<T>(Type type)
        where T : Attribute => (T?)Attribute.GetCustomAttribute(type, typeof(T), inherit: true);
}
