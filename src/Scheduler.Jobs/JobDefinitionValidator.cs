using System.Globalization;
using Quartz;
using Scheduler.Jobs.Schedules;
using Scheduler.Locking;
using Scheduler.Runs;

namespace Scheduler.Jobs;

/// <summary>Finds everything that is wrong with a job's definition and class, without running anything.</summary>
public static class JobDefinitionValidator
{
    private const int MaxNameLength = 200;

    /// <summary>Checks one job.</summary>
    /// <param name="job">The definition.</param>
    /// <param name="leases">The group's leases, which the job's must fit.</param>
    /// <param name="section">Where the jobs stand in the configuration, for example <c>Scheduler:Jobs</c>.</param>
    /// <returns>One sentence per problem: place, value, what is allowed.</returns>
    public static IEnumerable<string> Validate(JobDefinition job, LeaseOptions leases, string section)
    {
        ArgumentNullException.ThrowIfNull(job);
        var place = $"{section}:{job.Name}";
        if (job.Name.Length is 0 or > MaxNameLength)
        {
            yield return $"{place}: a job's name has 1 to {MaxNameLength} characters; this one has {job.Name.Length}.";
        }
        foreach (var problem in ValidateClass(job.Type, place, requireAttribute: true))
        {
            yield return problem;
        }
        foreach (var trigger in job.Triggers)
        {
            foreach (var problem in ValidateTrigger(trigger, $"{place}:Triggers:{trigger.Name}"))
            {
                yield return problem;
            }
        }
        foreach (var name in job.Triggers.GroupBy(t => t.Name, StringComparer.Ordinal).Where(g => g.Count() > 1).Select(g => g.Key))
        {
            yield return $"{place}: two triggers are called '{name}'; a trigger's name is unique within its job.";
        }
        foreach (var problem in ValidateAttribute(job, leases, place))
        {
            yield return problem;
        }
    }

    /// <summary>Checks that no two jobs have a name in common, former ones included.</summary>
    /// <param name="jobs">All jobs.</param>
    /// <param name="section">Where they stand in the configuration.</param>
    /// <returns>One sentence per problem.</returns>
    public static IEnumerable<string> ValidateNames(IReadOnlyList<JobDefinition> jobs, string section)
    {
        ArgumentNullException.ThrowIfNull(jobs);
        foreach (var job in jobs)
        {
            foreach (var former in job.FormerNames)
            {
                if (former.Length is 0 or > MaxNameLength)
                {
                    yield return $"{section}:{job.Name}:FormerNames: a name has 1 to {MaxNameLength} characters, one has {former.Length}.";
                }
                else if (former == job.Name || job.FormerNames.Count(f => f == former) > 1)
                {
                    yield return $"{section}:{job.Name}:FormerNames: '{former}' is there twice, or is the job's name; remove it.";
                }
                else if (
                    jobs.FirstOrDefault(j => j != job && (j.Name == former || j.FormerNames.Contains(former, StringComparer.Ordinal))) is
                    { } other
                )
                {
                    yield return $"{section}:{job.Name}:FormerNames: '{former}' is a name of the job '{other.Name}' too.";
                }
            }
        }
    }

    /// <summary>Checks what a job's attribute says, where its definition does not override it.</summary>
    internal static IEnumerable<string> ValidateAttribute(JobDefinition job, LeaseOptions leases, string place)
    {
        if (JobPolicy.Find<SingleInstanceAttribute>(job.Type) is not { } attribute)
        {
            yield break;
        }
        foreach (var problem in ValidateKey(job, attribute, place))
        {
            yield return problem;
        }
        foreach (var problem in ValidateLease(job, attribute, leases, place))
        {
            yield return problem;
        }
        foreach (var problem in ValidatePolicies(job, attribute, place).Concat(ValidateRetry(job, attribute, place)))
        {
            yield return problem;
        }
    }

    /// <summary>Checks a job class: its attribute, and Quartz attributes that belong to one replica.</summary>
    internal static IEnumerable<string> ValidateClass(Type type, string place, bool requireAttribute)
    {
        var single = JobPolicy.Find<SingleInstanceAttribute>(type) is not null;
        var every = JobPolicy.Find<EveryReplicaAttribute>(type) is not null;
        if (!typeof(IJob).IsAssignableFrom(type) || type.IsAbstract)
        {
            yield return $"{place}: {type.Name} is no job; it must be a class that implements Quartz.IJob.";
        }
        if (single && every)
        {
            yield return $"{place}: {type.Name} has both [SingleInstance] and [EveryReplica]; choose one.";
        }
        if (!single && !every && requireAttribute)
        {
            yield return $"{place}: {type.Name} has neither [SingleInstance] nor [EveryReplica]; without one nobody knows "
                + "whether it may run on every replica.";
        }
        if (single && type.GetCustomAttributes(inherit: true).Any(a => a is RetryPolicyAttribute))
        {
            yield return $"{place}: {type.Name} is [SingleInstance] and has Quartz's [RetryPolicy], which waits in one "
                + "replica's memory and is lost with it; remove it.";
        }
        if (single && type.GetCustomAttributes(inherit: true).Any(a => a is PersistJobDataAfterExecutionAttribute))
        {
            yield return $"{place}: {type.Name} is [SingleInstance] and has Quartz's [PersistJobDataAfterExecution], whose data "
                + "stay on one replica; keep such data in a database.";
        }
    }

    private static IEnumerable<string> ValidateTrigger(TriggerDefinition trigger, string place)
    {
        if (trigger.Name.Length is 0 or > MaxNameLength || trigger.Name == RunRecord.ManualTrigger)
        {
            yield return $"{place}: '{trigger.Name}' is no trigger name; it has 1 to {MaxNameLength} characters and is not "
                + $"'{RunRecord.ManualTrigger}'.";
        }
        if ((trigger.Cron is null) == (trigger.Every is null))
        {
            yield return $"{place}: a trigger has either Cron or Every, exactly one of them.";
        }
        else if (trigger.Cron is { } cron && Schedule.CronProblem(cron) is { } problem)
        {
            yield return $"{place}:Cron is '{cron}': {problem}";
        }
        else if (trigger.Every is { } every && Schedule.IntervalProblem(every) is { } wrong)
        {
            yield return $"{place}:Every is {every}: {wrong}";
        }
    }

    private static IEnumerable<string> ValidateKey(JobDefinition job, SingleInstanceAttribute attribute, string place)
    {
        var (template, problem) = KeyTemplate.Parse(attribute.Key ?? $"job:{Uri.EscapeDataString(job.Identity)}");
        if (template is null)
        {
            yield return $"{place}: the key of {job.Type.Name}: {problem}";
            yield break;
        }
        foreach (var trigger in job.Triggers)
        {
            if (template.Fill(name => trigger.Data.GetValueOrDefault(name)).Problem is { } missing)
            {
                yield return $"{place}:Triggers:{trigger.Name}:Data: {missing}";
            }
        }
    }

    private static IEnumerable<string> ValidateLease(
        JobDefinition job,
        SingleInstanceAttribute attribute,
        LeaseOptions leases,
        string place
    )
    {
        var lease = Read(job.Lease, attribute.Lease, nameof(attribute.Lease), job, place);
        return lease.Problem is { } problem ? [problem]
            : lease.Value is { } value ? LeaseOptionsValidator.ValidateLease(value, leases, lease.Place)
            : [];
    }

    private static IEnumerable<string> ValidatePolicies(JobDefinition job, SingleInstanceAttribute attribute, string place)
    {
        if ((job.MaxCrashes ?? attribute.MaxCrashes) is var crashes and (< 0 or > 1_000))
        {
            yield return $"{place}:MaxCrashes is {crashes}; allowed is 0 to 1000.";
        }
        if ((job.KeepLog ?? attribute.KeepLog) is var lines and (< 0 or > 200))
        {
            yield return $"{place}:KeepLog is {lines}; allowed is 0 to 200.";
        }
        var within = Read(job.CatchUpWithin, attribute.CatchUpWithin, nameof(attribute.CatchUpWithin), job, place);
        if (within.ProblemOutside(FireReader.LatestFire, CatchUpRule.LongestWithin) is { } problem)
        {
            yield return problem;
        }
        if ((job.CatchUpLimit ?? attribute.CatchUpLimit) is var limit and (< 1 or > CatchUpRule.LargestLimit))
        {
            yield return $"{place}:CatchUpLimit is {limit}; allowed is 1 to {CatchUpRule.LargestLimit}.";
        }
        if ((job.OnOverlap ?? attribute.OnOverlap) is var onOverlap && !Enum.IsDefined(onOverlap))
        {
            yield return $"{place}:OnOverlap is {onOverlap}; allowed: {string.Join(", ", Enum.GetNames<OnOverlap>())}.";
        }
        if ((job.CatchUp ?? attribute.CatchUp) is var policy && !Enum.IsDefined(policy))
        {
            yield return $"{place}:CatchUp is {policy}; allowed: {string.Join(", ", Enum.GetNames<CatchUp>())}.";
        }
    }

    private static IEnumerable<string> ValidateRetry(JobDefinition job, SingleInstanceAttribute attribute, string place)
    {
        var delay = Read(job.RetryDelay, attribute.RetryDelay, nameof(attribute.RetryDelay), job, place);
        var longest = Read(job.RetryMaxDelay, attribute.RetryMaxDelay, nameof(attribute.RetryMaxDelay), job, place);
        List<string> problems =
        [
            .. (
                (string?[])
                    [
                        delay.ProblemOutside(TimeSpan.Zero, RetryRule.LongestDelay),
                        longest.ProblemOutside(TimeSpan.Zero, RetryRule.LongestDelay),
                    ]
            ).OfType<string>(),
        ];
        foreach (var problem in problems)
        {
            yield return problem;
        }
        if (problems.Count > 0)
        {
            yield break;
        }
        var rule = JobPolicy.RetryOf(job, attribute);
        if (rule.MaxAttempts is < 1 or > RetryRule.MostAttempts)
        {
            yield return $"{place}:MaxAttempts is {rule.MaxAttempts}; allowed is 1 to {RetryRule.MostAttempts}.";
        }
        if (!Enum.IsDefined(rule.Backoff))
        {
            yield return $"{place}:RetryBackoff is {rule.Backoff}; allowed: {string.Join(", ", Enum.GetNames<RetryBackoff>())}.";
        }
        if (rule.Backoff == RetryBackoff.Exponential && rule.MaxDelay < rule.Delay)
        {
            yield return $"{longest.Place} is {rule.MaxDelay:c}, less than RetryDelay, {rule.Delay:c}; raise it, or lower RetryDelay.";
        }
        if (rule.Jitter is not (>= 0 and <= 1))
        {
            yield return string.Create(CultureInfo.InvariantCulture, $"{place}:RetryJitter is {rule.Jitter}; allowed is 0 to 1.");
        }
    }

    // What the definition says counts; else what the attribute says, which may be no time at all.
    private static Setting Read(TimeSpan? defined, string? text, string name, JobDefinition job, string place)
    {
        if (defined is not null || text is null)
        {
            return new Setting(defined, $"{place}:{name}", null);
        }
        var said = $"{place}: [SingleInstance({name})] of {job.Type.Name}";
        return TimeSpan.TryParse(text, CultureInfo.InvariantCulture, out var parsed)
            ? new Setting(parsed, said, null)
            : new Setting(null, said, $"{said} is '{text}', which is no time span such as 00:00:10.");
    }

    private readonly record struct Setting(TimeSpan? Value, string Place, string? Problem)
    {
        public string? ProblemOutside(TimeSpan least, TimeSpan most) =>
            Problem
            ?? (Value is { } value && (value < least || value > most) ? $"{Place} is {value:c}; allowed is {least:c} to {most:c}." : null);
    }
}
