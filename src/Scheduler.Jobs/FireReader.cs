using Microsoft.Extensions.Logging;
using Quartz;
using Scheduler.Jobs.Clocks;
using Scheduler.Jobs.Preference;
using Scheduler.Jobs.Reconciliation;
using Scheduler.Jobs.Schedules;
using Scheduler.Jobs.Telemetry;
using Scheduler.Jobs.Versions;
using Scheduler.Locking;
using Scheduler.Runs;

namespace Scheduler.Jobs;

/// <summary>
/// Tells what a fire of Quartz stands for: an occurrence of a schedule, a run that the reconciler launched, a manual run, or another
/// go of the same fire. Thread-safe.
/// </summary>
internal sealed class FireReader(
    StateGuard? state,
    ReplicaOrder order,
    StandBy? standBy,
    PausedJobs paused,
    ScheduleBounds bounds,
    ClockGuard clock,
    LeaseOptions leases,
    TimeProvider time,
    ILogger<FireReader> logger
)
{
    /// <summary>How late a schedule's own fire may be with State; later ones are the reconciler's.</summary>
    public static readonly TimeSpan LatestFire = TimeSpan.FromSeconds(5);

    /// <summary>Reads a fire.</summary>
    /// <returns>The request for the pipeline, or why the fire claims nothing.</returns>
    /// <exception cref="JobExecutionException">The job data cannot be used, or too many manual runs of the job are open.</exception>
    /// <exception cref="StateUnavailableException">A manual run could not be recorded.</exception>
    public async ValueTask<(FireRequest? Fire, string? Skip)> ReadAsync(
        IJobExecutionContext context,
        JobPolicy policy,
        CancellationToken cancellationToken
    )
    {
        var isManual =
            context.RefireCount == 0
            && context.Trigger.Key.Group != QuartzNames.LaunchGroup
            && (context.MergedJobDataMap.ContainsKey(SchedulerConstants.ManualTrigger) || !Schedule.IsSchedule(context.Trigger));
        if (clock.Problem is { } wrong && !isManual)
        {
            return (null, wrong);
        }
        if (context.RefireCount > 0 && context.FindRun() is { } before)
        {
            var again = Request(context, policy, before.Occurrence, before.LockKey);
            return (again with { RunId = state is null ? null : before.Id, IsRefire = true }, null);
        }
        if (context.Trigger.Key.Group == QuartzNames.LaunchGroup)
        {
            var data = context.Trigger.JobDataMap;
            var launched = Request(
                context,
                policy,
                QuartzNames.LaunchedOccurrence(context),
                LockKey.From((string)data[QuartzNames.LockKey]!)
            );
            return (launched with { RunId = data.TryGetValue(QuartzNames.RunId, out var id) ? (string?)id : null }, null);
        }
        var (key, problem) = policy.KeyFor(context.MergedJobDataMap);
        if (key is not { } lockKey)
        {
            throw new JobExecutionException($"Job '{policy.Job}': {problem}");
        }
        if (isManual)
        {
            var asked = await ManualAsync(context, policy, lockKey, cancellationToken);
            // Recorded, it is run by a replica whose clock is right.
            return clock.Problem is { } off ? (null, off) : (asked, null);
        }
        var occurrence = new Occurrence(policy.Job, QuartzNames.TriggerName(context.Trigger), QuartzNames.Scheduled(context));
        if (WhyNothing(context, occurrence) is { } why)
        {
            return (null, why);
        }
        var fire = Request(context, policy, occurrence, lockKey);
        if (standBy is not null && order.RankOf(occurrence) is > 0 and var place)
        {
            var missed = place == 1 ? "the replica before this one did not take it" : "the two replicas before this one did not take it";
            standBy.Add(new Launch(occurrence, lockKey, RunId: null, fire.Data, missed), place);
            return (null, "another replica comes first");
        }
        return (fire, null);
    }

    // Why a schedule's own fire stands for nothing, although Quartz fired it.
    private string? WhyNothing(IJobExecutionContext context, Occurrence occurrence)
    {
        if (state is not null && !paused.IsKnown)
        {
            return "it is not known yet what is paused";
        }
        if (paused.Covers(occurrence.Job, occurrence.ScheduledAt))
        {
            return "the job is paused";
        }
        if (bounds.WhyNot(occurrence) is { } why)
        {
            return why;
        }
        if (!Schedule.IsDue(context.Trigger, occurrence.ScheduledAt))
        {
            return "it was due in the first of two equal hours, before this replica was started";
        }
        var late = time.GetUtcNow() - occurrence.ScheduledAt;
        if (late > (state is null ? leases.LongestLease : LatestFire))
        {
            JobLog.Late(logger, occurrence, late.TotalSeconds);
            return $"came {late.TotalSeconds:0.0} s late";
        }
        // Quartz may have seen a clock that has been set back since.
        return state is not null && late < -clock.MaxOffset ? $"came {-late.TotalSeconds:0.0} s early" : null;
    }

    // The row comes first, so that the run is not forgotten when its key is held or this replica dies now.
    private async ValueTask<FireRequest> ManualAsync(
        IJobExecutionContext context,
        JobPolicy policy,
        LockKey key,
        CancellationToken cancellationToken
    )
    {
        var asked = DateTimeOffset.FromUnixTimeMilliseconds(clock.Now.ToUnixTimeMilliseconds());
        var fire = Request(context, policy, new Occurrence(policy.Job, RunRecord.ManualTrigger, asked), key);
        if (state is null)
        {
            return fire;
        }
        var row = new RunRequest(policy.Job, key, fire.Data, asked);
        return await state.CallAsync((s, token) => s.Runs.RequestAsync(row, token), cancellationToken) is RequestResult.Recorded recorded
            ? fire with
            {
                RunId = recorded.Run.Id,
            }
            : throw new JobExecutionException(RunRequests.TooMany(policy.Job));
    }

    private FireRequest Request(IJobExecutionContext context, JobPolicy policy, Occurrence occurrence, LockKey key) =>
        new()
        {
            Occurrence = occurrence,
            LockKey = key,
            Lease = policy.Lease,
            Data = state is null ? null : QuartzNames.ToJson(context.MergedJobDataMap),
            OnCrash = policy.OnCrash,
            MaxCrashes = policy.MaxCrashes,
            KeepLog = policy.KeepLog,
            Retry = state is null ? RetryRule.None : policy.Retry,
            Cancel = () => Interrupt(context, occurrence),
            AsksForRetry = static error => error is JobExecutionException { RefireImmediately: true },
        };

    /// <summary>What cancels the token of a fire that has no lock.</summary>
    public Action CancelOf(IJobExecutionContext context, JobPolicy policy) =>
        () => Interrupt(context, new Occurrence(policy.Job, QuartzNames.TriggerName(context.Trigger), QuartzNames.Scheduled(context)));

    // Quartz's own interrupt, so that the token in the context, the one in Execute, and the listeners agree.
    private void Interrupt(IJobExecutionContext context, Occurrence occurrence) =>
        _ = Task.Run(async () =>
        {
            try
            {
                await context.Scheduler.InterruptFireInstance(context.FireInstanceId, CancellationToken.None);
            }
            catch (SchedulerException e)
            {
                JobLog.InterruptFailed(logger, occurrence, e);
            }
        });
}
