using Microsoft.Extensions.Logging;
using Quartz;
using Scheduler.Jobs.Schedules;
using Scheduler.Jobs.Telemetry;

namespace Scheduler.Jobs.Reconciliation;

/// <summary>
/// Lets the schedules go on after the wall clock was set back. Quartz computes each fire from the one before: after a clock that was an
/// hour ahead is right again, it would fire nothing for an hour, and while it waits for a fire it looks at no clock.
/// </summary>
internal static class TriggerAlignment
{
    /// <summary>Gives every schedule that is not paused its next fire by the clock as it is now.</summary>
    public static async ValueTask AlignAsync(
        IScheduler scheduler,
        JobCatalog jobs,
        TimeProvider time,
        ILogger logger,
        CancellationToken cancellationToken
    )
    {
        var headers = await scheduler.QueryTriggers(new TriggerQuery { Take = PagedQuery.All }, cancellationToken);
        var now = time.GetUtcNow();
        var keys = headers
            .Items.Where(t => t.State != TriggerState.Paused && t.Key.Group != QuartzNames.LaunchGroup && !IsToBegin(t, jobs, now))
            .Select(t => t.Key)
            .ToList();
        var aligned = 0;
        foreach (var trigger in await scheduler.GetTriggers(keys, cancellationToken))
        {
            if (Schedule.IsSchedule(trigger))
            {
                now = time.GetUtcNow();
                var start = trigger is ISimpleTrigger simple ? Schedule.NextOnGrid(simple.RepeatInterval, now) : now;
                aligned += await TryAsync(scheduler, trigger, start, cancellationToken) ? 1 : 0;
            }
        }
        JobLog.ClockSet(logger, aligned);
    }

    // The schedules of a group have no begin of their own; one of this replica alone may have.
    private static bool IsToBegin(TriggerHeader trigger, JobCatalog jobs, DateTimeOffset now) =>
        trigger.StartTimeUtc > now
        && trigger.PreviousFireTimeUtc is null
        && jobs.Find(QuartzNames.JobName(trigger.JobKey)) is not { IsSingleInstance: true };

    private static async ValueTask<bool> TryAsync(
        IScheduler scheduler,
        ITrigger trigger,
        DateTimeOffset start,
        CancellationToken cancellationToken
    )
    {
        if (trigger.EndTimeUtc <= start)
        {
            return false;
        }
        try
        {
            var next = trigger.GetTriggerBuilder().StartAt(start).Build();
            return await scheduler.RescheduleJob(trigger.Key, next, cancellationToken) is not null;
        }
        catch (SchedulerException)
        {
            // It never comes due again.
            return false;
        }
    }
}
