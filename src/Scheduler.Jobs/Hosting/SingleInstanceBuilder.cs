using Scheduler.Hosting;
using Scheduler.Locking;
using Scheduler.Runs;

namespace Scheduler.Jobs;

/// <summary>Says which backends and jobs a replica has; filled inside <c>UseSingleInstance</c>. Not thread-safe.</summary>
public sealed class SingleInstanceBuilder : IBackendBuilder
{
    private readonly List<JobDefinition> _jobs = [];

    internal SingleInstanceBuilder() { }

    /// <summary>How the replica takes part.</summary>
    public SingleInstanceOptions Options { get; } = new();

    /// <summary>The jobs added so far.</summary>
    public IReadOnlyList<JobDefinition> Jobs => _jobs;

    internal Func<IServiceProvider, BackendContext, ILeaseStore>? LeaseStore { get; private set; }

    internal Func<IServiceProvider, BackendContext, IState>? State { get; private set; }

    /// <summary>Adds a job with its triggers; an application may as well add jobs and triggers to Quartz itself.</summary>
    /// <param name="job">The job.</param>
    public SingleInstanceBuilder AddJob(JobDefinition job)
    {
        _jobs.Add(job);
        return this;
    }

    /// <inheritdoc/>
    public void SetLeaseStore(Func<IServiceProvider, BackendContext, ILeaseStore> factory) => LeaseStore = factory;

    /// <inheritdoc/>
    public void SetState(Func<IServiceProvider, BackendContext, IState> factory) => State = factory;
}
