using System.Collections.Concurrent;
using Microsoft.Extensions.Logging;
using Quartz;
using Scheduler.Jobs.Telemetry;
using Scheduler.Locking;
using Scheduler.Runs;

namespace Scheduler.Jobs.Reconciliation;

/// <summary>A run to be started here although no schedule of this replica fires it now.</summary>
/// <param name="Occurrence">What it stands for.</param>
/// <param name="LockKey">The key that it locks.</param>
/// <param name="RunId">Its row, if it has one.</param>
/// <param name="Data">The job data, as kept in the row.</param>
/// <param name="Why">For the log: what happened to it.</param>
/// <param name="IsTakeOver">Whether a replica died while it ran.</param>
internal sealed record Launch(Occurrence Occurrence, LockKey LockKey, string? RunId, string? Data, string Why, bool IsTakeOver = false);

/// <summary>
/// Starts runs as one-shot Quartz triggers at their original scheduled time, so that the body sees the same time, data, scope,
/// listeners and time-outs as on its own fire. At most one per lock key at a time. Thread-safe.
/// </summary>
internal sealed class RunLauncher(TimeProvider time, ILogger<RunLauncher> logger)
{
    // A fire that never reached the middleware, for example because no worker slot came free, must not keep its key taken.
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(30);
    private static readonly TimeSpan Forgotten = Patience * 10;

    // What did not run would most likely not run again in the same instant; without a pause the loop would do nothing but try.
    private static readonly TimeSpan AfterSkip = TimeSpan.FromMilliseconds(500);
    private static readonly TimeSpan AfterFailure = TimeSpan.FromSeconds(5);

    private readonly ConcurrentDictionary<LockKey, Entry> _inFlight = new();
    private long _number;

    /// <summary>Raised when a launched fire has ended; handlers return at once.</summary>
    public event Action? LaunchEnded;

    /// <summary>Whether a launch under this key is on its way, or did not run just now.</summary>
    /// <param name="key">The lock key.</param>
    public bool IsInFlight(LockKey key) => _inFlight.TryGetValue(key, out var entry) && time.GetElapsedTime(entry.Since) < entry.Patience;

    /// <summary>What a fire was launched for; <see langword="null"/> for the fires of schedules and other triggers.</summary>
    /// <param name="trigger">The fire's trigger.</param>
    public Launch? LaunchOf(TriggerKey trigger) => Find(trigger)?.Value.Launch;

    /// <summary>Gives the run to Quartz. One that Quartz does not take is logged, and its key left alone for a while.</summary>
    /// <returns>Whether it was given; not when one under the same key is on its way.</returns>
    public async ValueTask<bool> LaunchAsync(IScheduler scheduler, JobKey job, Launch launch, CancellationToken cancellationToken)
    {
        if (IsInFlight(launch.LockKey))
        {
            return false;
        }
        if (_inFlight.TryRemove(launch.LockKey, out var before))
        {
            await scheduler.UnscheduleJob(before.Trigger, cancellationToken);
        }
        var trigger = new TriggerKey(
            $"{launch.RunId ?? launch.Occurrence.ToString()}#{Interlocked.Increment(ref _number)}",
            QuartzNames.LaunchGroup
        );
        if (!_inFlight.TryAdd(launch.LockKey, new Entry(trigger, time.GetTimestamp(), Patience, launch)))
        {
            return false;
        }
        try
        {
            await scheduler.ScheduleJob(TriggerOf(trigger, job, launch), cancellationToken: cancellationToken);
            return true;
        }
#pragma warning disable CA1031 // A run that cannot be started, whatever the reason, must not keep the others from being started.
        catch (Exception e) when (e is not OperationCanceledException || !cancellationToken.IsCancellationRequested)
#pragma warning restore CA1031
        {
            JobLog.CannotLaunch(logger, launch.RunId ?? "", launch.Occurrence.Job, $"{e.GetType().Name}: {e.Message}");
            Pause(trigger, AfterFailure);
            return false;
        }
    }

    /// <summary>Reports that a fire has ended; fires that were not launched here are ignored.</summary>
    /// <param name="trigger">Its trigger.</param>
    /// <param name="ran">Whether its body ran.</param>
    public void Ended(TriggerKey trigger, bool ran)
    {
        if (trigger.Group != QuartzNames.LaunchGroup)
        {
            return;
        }
        if (!ran)
        {
            Pause(trigger, AfterSkip);
            return;
        }
        if (Find(trigger) is { } entry)
        {
            _inFlight.TryRemove(entry);
        }
        LaunchEnded?.Invoke();
    }

    /// <summary>
    /// Takes care of triggers that Quartz put aside because their job could not be constructed: launches are dropped and tried again
    /// later, schedules of locked jobs go on.
    /// </summary>
    public async ValueTask MendAsync(IScheduler scheduler, JobCatalog jobs, CancellationToken cancellationToken)
    {
        foreach (var entry in _inFlight.Where(e => time.GetElapsedTime(e.Value.Since) >= Forgotten))
        {
            _inFlight.TryRemove(entry);
        }
        var broken = await scheduler.QueryTriggers(
            new TriggerQuery { State = TriggerState.Error, Take = PagedQuery.All },
            cancellationToken
        );
        foreach (var trigger in broken.Items)
        {
            if (trigger.Key.Group == QuartzNames.LaunchGroup)
            {
                await scheduler.UnscheduleJob(trigger.Key, cancellationToken);
                Pause(trigger.Key, AfterFailure);
            }
            else if (jobs.Find(QuartzNames.JobName(trigger.JobKey)) is { IsSingleInstance: true })
            {
                await scheduler.ResetTriggerFromErrorState(trigger.Key, cancellationToken);
            }
        }
    }

    private ITrigger TriggerOf(TriggerKey trigger, JobKey job, Launch launch)
    {
        var data = QuartzNames.FromJson(launch.Data);
        data[QuartzNames.Trigger] = launch.Occurrence.Trigger;
        data[QuartzNames.LockKey] = launch.LockKey.Value;
        if (launch.RunId is { } id)
        {
            data[QuartzNames.RunId] = id;
        }
        return TriggerBuilder
            .Create(time)
            .WithIdentity(trigger)
            .ForJob(job)
            .StartAt(launch.Occurrence.ScheduledAt)
            .WithSchedule(SimpleScheduleBuilder.Create().WithMisfireInstruction(SimpleTriggerMisfireInstruction.IgnoreMisfires))
            .UsingJobData(data)
            .Build();
    }

    private void Pause(TriggerKey trigger, TimeSpan pause)
    {
        if (Find(trigger) is { } entry)
        {
            _inFlight.TryUpdate(entry.Key, entry.Value with { Since = time.GetTimestamp(), Patience = pause }, entry.Value);
        }
    }

    private KeyValuePair<LockKey, Entry>? Find(TriggerKey trigger)
    {
        foreach (var entry in _inFlight)
        {
            if (entry.Value.Trigger.Equals(trigger))
            {
                return entry;
            }
        }
        return null;
    }

    private sealed record Entry(TriggerKey Trigger, long Since, TimeSpan Patience, Launch Launch);
}
