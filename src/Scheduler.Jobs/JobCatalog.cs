using System.Collections.Concurrent;
using Quartz;

namespace Scheduler.Jobs;

/// <summary>The policies of the jobs that this replica has. Thread-safe.</summary>
internal sealed class JobCatalog(IReadOnlyList<JobDefinition> definitions)
{
    private readonly ConcurrentDictionary<JobKey, JobPolicy> _byKey = new();
    private readonly ConcurrentDictionary<string, JobPolicy> _byName = new(StringComparer.Ordinal);

    /// <summary>The policy of a job that Quartz fires.</summary>
    public JobPolicy Of(IJobDetail job) => _byKey.TryGetValue(job.Key, out var policy) ? policy : Add(job.Key, job.JobType.Type);

    /// <summary>The policy of a job by name, or <see langword="null"/> when this replica does not have it.</summary>
    public JobPolicy? Find(string job) => _byName.GetValueOrDefault(job);

    /// <summary>All jobs that are known so far.</summary>
    public IReadOnlyCollection<JobPolicy> All => [.. _byName.Values];

    /// <summary>Their names, in order.</summary>
    public IReadOnlyList<string> Names => [.. _byName.Keys.Order(StringComparer.Ordinal)];

    /// <summary>The policy of a job by any of its names, also of one that came to Quartz after the start.</summary>
    public async ValueTask<JobPolicy?> FindAsync(IScheduler scheduler, string job, CancellationToken cancellationToken)
    {
        var identity =
            definitions.FirstOrDefault(d => d.Name == job || d.FormerNames.Contains(job, StringComparer.Ordinal))?.Identity ?? job;
        if (Find(identity) is null)
        {
            await LearnAsync(scheduler, cancellationToken);
        }
        return Find(identity);
    }

    /// <summary>Learns the jobs that Quartz got since; one whose attribute cannot be used stays unknown.</summary>
    public async ValueTask LearnAsync(IScheduler scheduler, CancellationToken cancellationToken)
    {
        var headers = await scheduler.QueryJobs(new JobQuery { Take = PagedQuery.All }, cancellationToken);
        var unknown = headers.Items.Select(j => j.Key).Where(key => !_byKey.ContainsKey(key)).ToList();
        foreach (var detail in await scheduler.GetJobDetails(unknown, cancellationToken))
        {
            try
            {
                Of(detail);
            }
            catch (Exception e) when (e is SchedulerConfigurationException or FormatException)
            {
                // Its fires say so.
            }
        }
    }

    private JobPolicy Add(JobKey key, Type type)
    {
        var definition = definitions.FirstOrDefault(d => d.Identity == QuartzNames.JobName(key));
        var policy = _byKey.GetOrAdd(key, JobPolicy.Of(key, type, definition));
        _byName[policy.Job] = policy;
        return policy;
    }
}
