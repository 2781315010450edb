using Scheduler.Jobs;
using Scheduler.Locking;

namespace Scheduler.Worker.Configuration;

/// <summary>Turns section <c>Scheduler:Jobs</c> into definitions and collects every error in it.</summary>
internal sealed class JobReader(JobClasses classes, LeaseOptions leases, ICollection<string> errors)
{
    /// <summary>The name of the trigger that stands directly under a job.</summary>
    public const string ShortTrigger = "default";

    public IReadOnlyList<JobDefinition> Read(IReadOnlyDictionary<string, JobOptions> jobs)
    {
        var definitions = new List<JobDefinition>();
        foreach (var (name, options) in jobs.OrderBy(j => j.Key, StringComparer.Ordinal))
        {
            if (Read(name, options, $"Scheduler:Jobs:{name}") is { } definition)
            {
                definitions.Add(definition);
            }
        }
        foreach (var problem in JobDefinitionValidator.ValidateNames(definitions, "Scheduler:Jobs"))
        {
            errors.Add(problem);
        }
        return definitions;
    }

    private JobDefinition? Read(string name, JobOptions options, string section)
    {
        if (!Names.IsValid(name))
        {
            errors.Add($"{section}: '{name}' is no job name; allowed is {Names.Allowed}. The class may have another name: set Type.");
        }
        foreach (var former in options.FormerNames.Where(f => !Names.IsValid(f)))
        {
            errors.Add($"{section}:FormerNames has '{former}', which is no job name; allowed is {Names.Allowed}.");
        }
        if (LockKey.Problem($"job:{name}") is { } problem)
        {
            errors.Add($"{section}: {problem}");
        }
        var setting = string.IsNullOrEmpty(options.Type) ? section : $"{section}:Type";
        var type = classes.Find(string.IsNullOrEmpty(options.Type) ? name : options.Type, setting, errors);
        var triggers = Triggers(options, section);
        if (type is null)
        {
            return null;
        }
        var job = new JobDefinition(name, type, triggers)
        {
            FormerNames = options.FormerNames,
            Lease = options.Lease,
            OnCrash = options.OnCrash,
            MaxCrashes = options.MaxCrashes,
            KeepLog = options.KeepLog,
            MaxAttempts = options.MaxAttempts,
            RetryDelay = options.RetryDelay,
            RetryBackoff = options.RetryBackoff,
            RetryMaxDelay = options.RetryMaxDelay,
            RetryJitter = options.RetryJitter,
            OnOverlap = options.OnOverlap,
            CatchUp = options.CatchUp,
            CatchUpWithin = options.CatchUpWithin,
            CatchUpLimit = options.CatchUpLimit,
            Level = options.Level,
        };
        foreach (var error in JobDefinitionValidator.Validate(job, leases, "Scheduler:Jobs"))
        {
            errors.Add(error);
        }
        return job;
    }

    private List<TriggerDefinition> Triggers(JobOptions options, string section)
    {
        var isShort = options.Cron is not null || options.Every is not null;
        if (isShort && options.Triggers.Count > 0)
        {
            errors.Add($"{section} has Triggers and also Cron or Every directly under it; move that one into Triggers.");
        }
        if (!isShort && options.Triggers.Count == 0)
        {
            errors.Add($"{section} has no schedule; give Cron, Every or Triggers.");
        }
        if (!isShort && (options.TimeZone is not null || options.Data.Count > 0))
        {
            errors.Add($"{section} has TimeZone or Data without Cron or Every beside it; they belong into a trigger.");
        }
        var triggers = new List<TriggerDefinition>();
        if (isShort)
        {
            Add(
                triggers,
                new()
                {
                    Name = ShortTrigger,
                    Cron = options.Cron,
                    Every = options.Every,
                    TimeZone = options.TimeZone,
                    Data = options.Data,
                },
                section
            );
        }
        for (var i = 0; i < options.Triggers.Count; i++)
        {
            var trigger = options.Triggers[i];
            var place = $"{section}:Triggers:{i}";
            if (!Names.IsValid(trigger.Name))
            {
                errors.Add($"{place}:Name is '{trigger.Name}'; a trigger needs a name: {Names.Allowed}.");
            }
            else if (options.Triggers.FindIndex(t => string.Equals(t.Name, trigger.Name, StringComparison.OrdinalIgnoreCase)) < i)
            {
                errors.Add($"{place}:Name is '{trigger.Name}', which another trigger of the job has; names must be unique within a job.");
            }
            Add(triggers, trigger, place);
        }
        return triggers;
    }

    private void Add(List<TriggerDefinition> triggers, TriggerOptions trigger, string place)
    {
        if (trigger.Cron is null == trigger.Every is null)
        {
            errors.Add(
                trigger.Cron is null
                    ? $"{place} has neither Cron nor Every; give exactly one."
                    : $"{place} has Cron '{trigger.Cron}' and Every {trigger.Every}; give exactly one."
            );
            return;
        }
        if (trigger.Every is not null && trigger.TimeZone is not null)
        {
            errors.Add($"{place}:TimeZone is '{trigger.TimeZone}', but Every knows no time zone; remove it or use Cron.");
        }
        var zone = TimeZoneInfo.Utc;
        if (trigger.TimeZone is not null && !TimeZoneInfo.TryFindSystemTimeZoneById(trigger.TimeZone, out zone!))
        {
            errors.Add(
                $"{place}:TimeZone is '{trigger.TimeZone}', which this system does not know; UTC or an IANA name such as "
                    + "Europe/Berlin is expected."
            );
            zone = TimeZoneInfo.Utc;
        }
        triggers.Add(new TriggerDefinition(trigger.Name ?? "", trigger.Cron, trigger.Every, zone, trigger.Data));
    }
}
