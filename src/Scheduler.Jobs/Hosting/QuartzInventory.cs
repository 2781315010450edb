using Microsoft.Extensions.Logging;
using Quartz;
using Scheduler.Jobs.Reconciliation;
using Scheduler.Jobs.Schedules;
using Scheduler.Jobs.Telemetry;
using Scheduler.Runs;

namespace Scheduler.Jobs.Hosting;

/// <summary>Reads the jobs and triggers that Quartz has at start, checks them, and gives the schedules of locked jobs.</summary>
internal sealed class QuartzInventory(
    JobCatalog jobs,
    IReadOnlyList<JobDefinition> definitions,
    SingleInstanceOptions options,
    ILogger<QuartzInventory> logger
)
{
    /// <summary>Reads everything once.</summary>
    /// <exception cref="SchedulerConfigurationException">A job or trigger cannot be run by a group.</exception>
    public async ValueTask<IReadOnlyList<TrackedSchedule>> ReadAsync(IScheduler scheduler, CancellationToken cancellationToken)
    {
        var problems = new List<string>();
        var schedules = new List<TrackedSchedule>();
        var headers = await scheduler.QueryJobs(new JobQuery { Take = PagedQuery.All }, cancellationToken);
        foreach (var twice in headers.Items.GroupBy(j => QuartzNames.JobName(j.Key), StringComparer.Ordinal).Where(g => g.Count() > 1))
        {
            problems.Add($"Two jobs of Quartz are both '{twice.Key}' for the group (group and name are joined by a dot); rename one.");
        }
        foreach (var detail in await scheduler.GetJobDetails([.. headers.Items.Select(j => j.Key)], cancellationToken))
        {
            var name = QuartzNames.JobName(detail.Key);
            problems.AddRange(JobDefinitionValidator.ValidateClass(detail.JobType.Type, $"Job '{name}'", options.RequireAttribute));
            if (definitions.All(d => d.Identity != name))
            {
                var definition = new JobDefinition(name, detail.JobType.Type, []);
                problems.AddRange(JobDefinitionValidator.ValidateAttribute(definition, options.Leases, $"Job '{name}'"));
            }
            if (problems.Count > 0)
            {
                continue;
            }
            var policy = jobs.Of(detail);
            if (policy.IsSingleInstance)
            {
                await ReadTriggersAsync(scheduler, detail, policy, schedules, problems, cancellationToken);
            }
            else if (JobPolicy.Find<EveryReplicaAttribute>(detail.JobType.Type) is null)
            {
                JobLog.Unmarked(logger, name, detail.JobType.Type.Name);
            }
        }
        return problems.Count == 0 ? schedules : throw new SchedulerConfigurationException(problems);
    }

    private static async ValueTask ReadTriggersAsync(
        IScheduler scheduler,
        IJobDetail detail,
        JobPolicy policy,
        List<TrackedSchedule> schedules,
        List<string> problems,
        CancellationToken cancellationToken
    )
    {
        if (detail.PersistJobDataAfterExecution)
        {
            problems.Add(
                $"Job '{policy.Job}' is [SingleInstance] and keeps its data after execution, on one replica; keep such data in a database."
            );
        }
        var names = new HashSet<string>(StringComparer.Ordinal);
        var headers = await scheduler.QueryTriggers(new TriggerQuery { Job = detail.Key, Take = PagedQuery.All }, cancellationToken);
        foreach (var trigger in await scheduler.GetTriggers([.. headers.Items.Select(t => t.Key)], cancellationToken))
        {
            var name = QuartzNames.TriggerName(trigger);
            var place = $"Trigger '{name}' of [SingleInstance] job '{policy.Job}'";
            if (name == RunRecord.ManualTrigger)
            {
                problems.Add($"{place}: '{name}' names the runs that a person or program asked for; call the trigger something else.");
            }
            if (!names.Add(name))
            {
                problems.Add($"{place}: two triggers have this name for the group, so one would stand for the other; rename one.");
            }
            if (trigger.RetryPolicy is not null)
            {
                problems.Add($"{place} has a RetryPolicy of Quartz, which waits in one replica's memory and is lost with it; remove it.");
            }
            var (schedule, problem) = Schedule.Read(trigger);
            if (problem is not null)
            {
                problems.Add($"{place} is no schedule that a group can share: {problem}.");
            }
            var data = new JobDataMap((IDictionary<string, object?>)detail.JobDataMap);
            foreach (var (key, value) in trigger.JobDataMap)
            {
                data[key] = value;
            }
            if (policy.KeyFor(data).Problem is { } missing)
            {
                problems.Add($"{place}: {missing}");
            }
            problems.AddRange(DataProblem(data) is { } wrong ? [$"{place}: {wrong}"] : []);
            if (schedule is not null)
            {
                schedules.Add(new TrackedSchedule(policy, name, schedule, data));
            }
        }
    }

    private static string? DataProblem(JobDataMap data)
    {
        try
        {
            QuartzNames.ToJson(data);
            return null;
        }
        catch (JobExecutionException e)
        {
            return e.Message;
        }
    }
}
