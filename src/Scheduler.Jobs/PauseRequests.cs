using Quartz;
using Scheduler.Jobs.Hosting;
using Scheduler.Runs;

namespace Scheduler.Jobs;

/// <summary>What became of a request to pause or resume.</summary>
public abstract record PauseAnswer
{
    private PauseAnswer() { }

    /// <summary>It is committed.</summary>
    /// <param name="Pause">The pause that lasts now, or the one that has ended; <see langword="null"/> when a job was resumed that was not
    /// paused.</param>
    public sealed record Done(JobPause? Pause) : PauseAnswer;

    /// <summary>This replica has no job of that name; nothing was changed.</summary>
    /// <param name="Known">The names that it has.</param>
    public sealed record UnknownJob(IReadOnlyList<string> Known) : PauseAnswer;

    /// <summary>The job cannot be paused; nothing was changed.</summary>
    /// <param name="Reason">Why.</param>
    public sealed record Refused(string Reason) : PauseAnswer;
}

/// <summary>
/// Pauses and resumes the schedules of a job on the whole group, over restarts: no new occurrences; runs that have begun, wait or were
/// asked for go on. This replica follows at once, the others with their next heartbeat, within seconds. What comes due meanwhile is not
/// missed. In the container of an application whose group has a State. Thread-safe.
/// </summary>
public sealed class PauseRequests
{
    private readonly StateGuard _state;
    private readonly JobCatalog _jobs;
    private readonly ISchedulerFactory _schedulers;
    private readonly PausedJobs _paused;
    private readonly GroupLoops _loops;

    internal PauseRequests(StateGuard state, JobCatalog jobs, ISchedulerFactory schedulers, PausedJobs paused, GroupLoops loops) =>
        (_state, _jobs, _schedulers, _paused, _loops) = (state, jobs, schedulers, paused, loops);

    /// <summary>Pauses a job; where it is paused already, nothing changes.</summary>
    /// <exception cref="StateUnavailableException">State did not answer; whether it is paused is unknown.</exception>
    public ValueTask<PauseAnswer> PauseAsync(string job, CancellationToken cancellationToken) =>
        ChangeAsync(job, async (pauses, identity, token) => await pauses.PauseAsync(identity, token), cancellationToken);

    /// <summary>Ends the pause of a job.</summary>
    /// <exception cref="StateUnavailableException">State did not answer; whether it is paused is unknown.</exception>
    public ValueTask<PauseAnswer> ResumeAsync(string job, CancellationToken cancellationToken) =>
        ChangeAsync(job, (pauses, identity, token) => pauses.ResumeAsync(identity, token), cancellationToken);

    /// <summary>The pause of a job that lasts, as this replica knew it at its last heartbeat; <see langword="null"/> when there is
    /// none.</summary>
    public JobPause? Find(string job) => _paused.Find(job);

    private async ValueTask<PauseAnswer> ChangeAsync(
        string job,
        Func<IJobPauses, string, CancellationToken, ValueTask<JobPause?>> change,
        CancellationToken cancellationToken
    )
    {
        ArgumentNullException.ThrowIfNull(job);
        var scheduler = await _schedulers.GetScheduler(cancellationToken);
        if (await _jobs.FindAsync(scheduler, job, cancellationToken) is not { } policy)
        {
            return new PauseAnswer.UnknownJob(_jobs.Names);
        }
        if (!policy.IsSingleInstance)
        {
            return new PauseAnswer.Refused($"Job '{job}' runs on every replica by itself; only a [SingleInstance] job can be paused.");
        }
        var pause = await _state.CallAsync((s, token) => change(s.Pauses, policy.Job, token), cancellationToken);
        await _paused.RefreshAsync(_state, cancellationToken);
        _loops.Wake();
        return new PauseAnswer.Done(pause);
    }
}
