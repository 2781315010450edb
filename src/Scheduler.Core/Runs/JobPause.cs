namespace Scheduler.Runs;

/// <summary>A time in which a job's schedules begin nothing new. By State's clock, whole milliseconds.</summary>
/// <param name="Job">The job.</param>
/// <param name="Since">From when on; what was due at that time or before is not paused.</param>
/// <param name="Until">What is due later is not paused any more; <see langword="null"/> while it lasts.</param>
public sealed record JobPause(string Job, DateTimeOffset Since, DateTimeOffset? Until)
{
    /// <summary>Whether what is due at a time is left out.</summary>
    public bool Covers(DateTimeOffset due) => due > Since && (Until is not { } until || due <= until);
}

/// <summary>
/// Which jobs are paused over the whole group. What ended stays in the list (<see cref="MemberList.Pauses"/>) as long as a schedule of the
/// job may still be looked at from before its end: paused time is not missed. Thread-safe.
/// </summary>
public interface IJobPauses
{
    /// <summary>Begins a pause now; where one lasts already, nothing changes.</summary>
    /// <returns>The one that lasts now.</returns>
    ValueTask<JobPause> PauseAsync(string job, CancellationToken cancellationToken);

    /// <summary>Ends the pause now.</summary>
    /// <returns>It, with its end; <see langword="null"/> when the job was not paused.</returns>
    ValueTask<JobPause?> ResumeAsync(string job, CancellationToken cancellationToken);
}
