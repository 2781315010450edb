using Microsoft.Extensions.Logging;
using Scheduler.Jobs.Telemetry;
using Scheduler.Runs;

namespace Scheduler.Jobs.Reconciliation;

/// <summary>
/// Looks at what a schedule was due to fire since the bound up to which everything has a row, records what was overlapped, and names
/// what has to be run. Used by the reconciler's loop alone.
/// </summary>
internal sealed class Settler(StateGuard state, TimeProvider time, ILogger logger)
{
    /// <summary>How many missed occurrences of a trigger are run; older ones are left out.</summary>
    public const int MaxMissed = 1_000;

    /// <summary>Settles a schedule up to a time.</summary>
    /// <param name="schedule">The schedule.</param>
    /// <param name="until">Later occurrences are left to their fires.</param>
    /// <param name="cancellationToken">Ends the look.</param>
    /// <returns>What has to be run; nothing when the schedule cannot be judged, which is logged once.</returns>
    /// <exception cref="StateUnavailableException">State does not answer.</exception>
    public async ValueTask<IReadOnlyList<Launch>> SettleAsync(
        TrackedSchedule schedule,
        DateTimeOffset until,
        CancellationToken cancellationToken
    )
    {
        try
        {
            var missing = await JudgeAsync(schedule, until, cancellationToken);
            schedule.IsBroken = false;
            return missing;
        }
#pragma warning disable CA1031 // One schedule that cannot be judged must not keep the others from it.
        catch (Exception e) when (e is not (StateUnavailableException or OperationCanceledException))
#pragma warning restore CA1031
        {
            if (!schedule.IsBroken)
            {
                JobLog.ReconcilerFailed(logger, e);
            }
            schedule.IsBroken = true;
            return [];
        }
    }

    /// <summary>Writes down how far a schedule is settled, if it was looked at.</summary>
    public async ValueTask WriteAsync(TrackedSchedule schedule, CancellationToken cancellationToken)
    {
        if (schedule.SettledUntil is { } until)
        {
            var (job, trigger) = (schedule.Policy.Job, schedule.Trigger);
            await state.CallAsync(
                (s, token) => s.Schedules.SettleAsync(job, trigger, schedule.Schedule.Fingerprint, until, token),
                cancellationToken
            );
        }
    }

    private async ValueTask<IReadOnlyList<Launch>> JudgeAsync(
        TrackedSchedule schedule,
        DateTimeOffset until,
        CancellationToken cancellationToken
    )
    {
        var (job, trigger) = (schedule.Policy.Job, schedule.Trigger);
        if (schedule.SettledUntil is not { } after)
        {
            var record = await state.CallAsync(
                (s, token) => s.Schedules.ObserveAsync(job, trigger, schedule.Schedule.Fingerprint, time.GetUtcNow(), token),
                cancellationToken
            );
            schedule.Observe(record);
            after = record.SettledUntil;
        }
        var (due, leftOut) = until > after ? schedule.Schedule.Between(after, until, MaxMissed) : ([], false);
        if (due.Count == 0)
        {
            return [];
        }
        if (leftOut)
        {
            after = due[0] - TimeSpan.FromMilliseconds(1);
        }
        var rows = await state.CallAsync((s, token) => s.Runs.OccurrencesAsync(job, trigger, after, until, token), cancellationToken);
        var before = rows.Any(r => r.Run.ScheduledAt == due[0])
            ? null
            : await state.CallAsync((s, token) => s.Runs.LastOccurrenceAsync(job, trigger, after, token), cancellationToken);
        var settlement = Settlement.Of(due, rows, before, schedule.Schedule.Next(due[^1]));
        if (leftOut && settlement.Missing.Count > 0)
        {
            JobLog.LeftOut(logger, job, trigger, MaxMissed, due[0]);
        }
        var missing = await RecordAsync(schedule, settlement, cancellationToken);
        if (settlement.SettledUntil is { } settled && schedule.Settle(settled))
        {
            await WriteAsync(schedule, cancellationToken);
        }
        return missing;
    }

    private async ValueTask<IReadOnlyList<Launch>> RecordAsync(
        TrackedSchedule schedule,
        Settlement settlement,
        CancellationToken cancellationToken
    )
    {
        if (settlement.Overlapped.Count == 0 && settlement.Missing.Count == 0)
        {
            return [];
        }
        var (job, trigger) = (schedule.Policy.Job, schedule.Trigger);
        var (key, problem) = schedule.Policy.KeyFor(schedule.Data);
        if (key is not { } lockKey)
        {
            throw new InvalidOperationException($"'{job}/{trigger}': {problem}");
        }
        if (settlement.Overlapped.Count > 0)
        {
            Occurrence[] overlapped = [.. settlement.Overlapped.Select(at => new Occurrence(job, trigger, at))];
            await state.CallAsync(
                (s, token) => s.Runs.RecordOverlappedAsync(overlapped, lockKey, time.GetUtcNow(), token),
                cancellationToken
            );
            JobLog.Overlapped(logger, job, trigger, overlapped.Length);
        }
        var data = QuartzNames.ToJson(schedule.Data);
        return [.. settlement.Missing.Select(at => new Launch(new(job, trigger, at), lockKey, null, data, "no replica has run it"))];
    }
}
