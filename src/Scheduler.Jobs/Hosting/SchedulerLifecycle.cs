using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;
using Quartz;
using Scheduler.Jobs.Clocks;
using Scheduler.Jobs.Telemetry;
using Scheduler.Leases;
using Scheduler.Locking;
using Scheduler.Runs;
using QuartzStatus = Quartz.SchedulerStatus;

namespace Scheduler.Jobs.Hosting;

/// <summary>
/// Starts the group's parts before any job can run and stops them after the last one ended, whatever the order of registration: the
/// hooks around the hosted services are used, not a place among them.
/// </summary>
internal sealed class SchedulerLifecycle(
    ISchedulerFactory schedulers,
    GroupContext group,
    LockProvider locks,
    StateHolder state,
    RunPipeline pipeline,
    JobCatalog jobs,
    QuartzInventory inventory,
    ReplicaStatus status,
    SingleInstanceOptions options,
    GroupLoops loops,
    IHostApplicationLifetime lifetime,
    LevelCheck levels,
    TimeProvider time,
    GroupTime groupTime,
    ILogger<SchedulerLifecycle> logger
) : IHostedLifecycleService
{
    private static readonly TimeSpan AfterGrace = TimeSpan.FromSeconds(3);
    private static readonly TimeSpan Look = TimeSpan.FromMilliseconds(20);

    private IScheduler? _scheduler;
    private int _stopping;
    private int _refused;

    /// <summary>Reads and checks the jobs, opens State and lock store. What time may mend is retried in the background.</summary>
    /// <exception cref="SchedulerConfigurationException">Only a change of configuration or set-up helps.</exception>
    public async Task StartingAsync(CancellationToken cancellationToken)
    {
        List<string> problems = [.. options.Validate(), .. JobDefinitionValidator.ValidateNames(group.Jobs, "Scheduler:Jobs")];
        foreach (var job in group.Jobs)
        {
            problems.AddRange(JobDefinitionValidator.Validate(job, options.Leases, "Scheduler:Jobs"));
        }
        if (problems.Count > 0)
        {
            throw new SchedulerConfigurationException(problems);
        }
        _scheduler = await schedulers.GetScheduler(cancellationToken);
        var schedules = await inventory.ReadAsync(_scheduler, cancellationToken);
        await OpenStoresAsync(cancellationToken);
        if (state.Guard is not null && !ReferenceEquals(time, groupTime))
        {
            JobLog.OtherClock(logger, time.GetType().Name);
        }
        await loops.JoinAsync(cancellationToken);
        loops.Start(_scheduler, schedules);
    }

    public Task StartAsync(CancellationToken cancellationToken) => Task.CompletedTask;

    public Task StartedAsync(CancellationToken cancellationToken)
    {
        status.Started();
        var names = jobs.All.Select(j => j.Job).Order(StringComparer.Ordinal).ToList();
        var records = state.Guard?.Name ?? "none";
        JobLog.Started(logger, group.Replica.Name, group.Group, locks.Traits.Name, records, names.Count, string.Join(", ", names));
        return Task.CompletedTask;
    }

    /// <summary>Takes no new fires, lets bodies end within the grace time, then cancels them and waits a little for their ends.</summary>
    public async Task StoppingAsync(CancellationToken cancellationToken)
    {
        if (Interlocked.Exchange(ref _stopping, 1) == 1)
        {
            return;
        }
        var begin = time.GetTimestamp();
        status.Stopping();
        JobLog.Stopping(logger, pipeline.Running, options.StopGrace);
        // First of all: whatever Quartz fires until it stands by is turned away, and runs on another replica.
        pipeline.BeginStop();
        await StandByAsync(cancellationToken);
        await loops.StopReconcilingAsync(cancellationToken);
        try
        {
            await Task.Delay(options.DrainDelay, time, cancellationToken);
            status.Closing();
            // From the begin of the stop: however long State took to hear of it, no body is told later.
            if (!await IdleAsync(options.DrainDelay + options.StopGrace - time.GetElapsedTime(begin), cancellationToken))
            {
                JobLog.GraceOver(logger, pipeline.Running);
                pipeline.CancelBodies();
                await IdleAsync(AfterGrace, cancellationToken);
            }
        }
        catch (OperationCanceledException)
        {
            // The host's own patience is over; what runs keeps its lease until the process is gone.
        }
        if (pipeline.Running > 0)
        {
            JobLog.BodiesLeft(logger, pipeline.Running);
        }
    }

    public Task StopAsync(CancellationToken cancellationToken) => Task.CompletedTask;

    /// <summary>Gives up what could not be recorded, and leaves the group. The watchdog goes on until the provider is disposed
    /// of.</summary>
    public async Task StoppedAsync(CancellationToken cancellationToken)
    {
        await pipeline.DisposeAsync();
        await loops.LeaveAsync(pipeline.LeavesRuns, cancellationToken);
    }

    private async ValueTask StandByAsync(CancellationToken cancellationToken)
    {
        try
        {
            if (_scheduler is { Status: QuartzStatus.Running })
            {
                await _scheduler.Standby(cancellationToken);
            }
        }
        catch (Exception e) when (e is SchedulerException or OperationCanceledException)
        {
            // It fires on, into a pipeline that takes nothing any more.
        }
    }

    private async ValueTask OpenStoresAsync(CancellationToken cancellationToken)
    {
        if (state.Guard is { } guard)
        {
            guard.Refused += StopHost;
            await guard.OpenAsync(cancellationToken);
        }
        else
        {
            JobLog.WithoutState(logger, options.Leases.LongestLease);
        }
        try
        {
            levels.ThrowIfTooWeak(locks.Traits.Name, locks.Traits.Level, []);
            var info = await locks.StartAsync(cancellationToken);
            foreach (var warning in info.Warnings)
            {
                JobLog.StoreWarning(logger, warning);
            }
        }
        catch (StoreUnavailableException e) when (!e.IsPermanent)
        {
            JobLog.LockStoreAbsent(logger, locks.Traits.Name, e.Message);
            // Raised by each probe, so that nothing is missed between the failure and this line.
            locks.Refused += StopHost;
        }
        catch (StoreUnavailableException e) when (e.InnerException is SchedulerConfigurationException tooWeak)
        {
            throw new SchedulerConfigurationException(tooWeak.Problems);
        }
    }

    /// <summary>What the first contact finds that only a change of configuration mends ends the host, as it would have at the
    /// start.</summary>
    private void StopHost(Exception refused)
    {
        if (Interlocked.Exchange(ref _refused, 1) == 0)
        {
            JobLog.Refused(logger, refused.Message);
            Environment.ExitCode = 2;
            lifetime.StopApplication();
        }
    }

    private async ValueTask<bool> IdleAsync(TimeSpan atMost, CancellationToken cancellationToken)
    {
        var since = time.GetTimestamp();
        while (pipeline.Running + pipeline.Unrecorded > 0)
        {
            if (time.GetElapsedTime(since) >= atMost)
            {
                return false;
            }
            await Task.Delay(Look, time, cancellationToken);
        }
        return true;
    }
}
