using Microsoft.Extensions.Logging;
using Scheduler.Jobs.Telemetry;
using Scheduler.Jobs.Versions;
using Scheduler.Runs;

namespace Scheduler.Jobs.Reconciliation;

/// <summary>
/// Looks at what schedules were due to fire since the bound up to which everything has a row, records what was overlapped, and names
/// what has to be run. Asks State for many schedules at once. Used by the reconciler's loop alone.
/// </summary>
internal sealed class Settler(
    StateGuard state,
    ReplicaIdentity replica,
    PausedJobs paused,
    ScheduleBounds bounds,
    VersionWatch versions,
    TimeProvider time,
    ILogger logger
)
{
    // One call has the time limit of a call, and its answer is in memory at once.
    private const int Together = 250;

    private bool _holds;

    /// <summary>Settles schedules up to a time.</summary>
    /// <param name="schedules">The schedules.</param>
    /// <param name="until">Later occurrences are left to their fires.</param>
    /// <param name="cancellationToken">Ends the look.</param>
    /// <returns>What has to be run. A schedule that cannot be judged is left out, which is logged once.</returns>
    /// <exception cref="StateUnavailableException">State does not answer.</exception>
    public async ValueTask<IReadOnlyList<Launch>> SettleAsync(
        IReadOnlyList<TrackedSchedule> schedules,
        DateTimeOffset until,
        CancellationToken cancellationToken
    )
    {
        await HoldAsync(schedules, cancellationToken);
        foreach (var schedule in schedules.Where(s => bounds.IsUnknown(s.Key)))
        {
            schedule.Forget();
        }
        await BeginAsync([.. schedules.Where(s => s.SettledUntil is null)], cancellationToken);
        var (missing, settled) = (new List<Launch>(), new List<TrackedSchedule>());
        await ForAllAsync(LookAt(schedules, until), l => l.Schedule, chunk => JudgeAsync(chunk, missing, settled, cancellationToken));
        await WriteAsync(settled, cancellationToken);
        return missing;
    }

    /// <summary>Writes down how far schedules are settled, where they were looked at.</summary>
    public ValueTask WriteAsync(IEnumerable<TrackedSchedule> schedules, CancellationToken cancellationToken) =>
        ForAllAsync(
            schedules.Where(s => s.SettledUntil is not null),
            s => s,
            async chunk =>
            {
                List<SettledSchedule> reached = [.. chunk.Select(s => new SettledSchedule(s.Key, s.SettledUntil!.Value))];
                await state.CallAsync((s, token) => s.Schedules.SettleAsync(reached, token), cancellationToken);
            }
        );

    // Before State is asked what counts: the others are to know what this replica has when it does.
    private async ValueTask HoldAsync(IReadOnlyList<TrackedSchedule> schedules, CancellationToken cancellationToken)
    {
        if (!_holds)
        {
            List<ScheduleKey> keys = [.. schedules.Select(s => s.Key)];
            await state.CallAsync((s, token) => s.Schedules.HoldAsync(replica.Id, keys, time.GetUtcNow(), token), cancellationToken);
            _holds = true;
        }
    }

    // Whether a newer definition counts is asked before the first of these does: the heartbeat may come later than a due time.
    private async ValueTask BeginAsync(IReadOnlyList<TrackedSchedule> schedules, CancellationToken cancellationToken)
    {
        var seen = new List<(TrackedSchedule Schedule, ScheduleRecord Record)>();
        await ForAllAsync(
            schedules,
            s => s,
            async chunk =>
            {
                List<ScheduleKey> keys = [.. chunk.Select(s => s.Key)];
                var records = await state.CallAsync(
                    (s, token) => s.Schedules.ObserveAsync(keys, time.GetUtcNow(), token),
                    cancellationToken
                );
                seen.AddRange(chunk.Zip(records));
            }
        );
        if (seen.Count == 0)
        {
            return;
        }
        await versions.AskAsync(cancellationToken);
        foreach (var (schedule, record) in seen)
        {
            schedule.Observe(record);
            bounds.Begin(record, time.GetUtcNow());
        }
    }

    private List<Look> LookAt(IReadOnlyList<TrackedSchedule> schedules, DateTimeOffset until)
    {
        var looks = new List<Look>();
        foreach (var schedule in schedules)
        {
            try
            {
                var end = Min(until, Min(paused.CertainUntil(schedule.Policy.Job), bounds.UntilOf(schedule.Key)));
                if (schedule.Due(end, schedule.Policy.CatchUp.Limit) is { Due: { Count: > 0 } due, LeftOut: var leftOut })
                {
                    looks.Add(new Look(schedule, due, leftOut, end));
                }
            }
            catch (Exception e) when (IsOfOneSchedule(e))
            {
                SetAside(schedule, e);
            }
        }
        return looks;
    }

    private async ValueTask JudgeAsync(
        IReadOnlyList<Look> looks,
        List<Launch> missing,
        List<TrackedSchedule> settled,
        CancellationToken cancellationToken
    )
    {
        List<OccurrenceRange> ranges = [.. looks.Select(l => l.Range)];
        var found = await state.CallAsync((s, token) => s.Runs.OccurrencesAsync(ranges, token), cancellationToken);
        foreach (var (look, range) in looks.Zip(found))
        {
            var schedule = look.Schedule;
            try
            {
                var policy = schedule.Policy;
                var next = schedule.Schedule.Next(look.Due[^1]);
                var now = time.GetUtcNow();
                var settlement = Settlement.Of(look.Due, range.Rows, range.Before, next, policy.OnOverlap, policy.CatchUp, now, IsPaused);
                Tell(look, policy.CatchUp, settlement);
                bool IsPaused(DateTimeOffset due) => paused.Covers(policy.Job, due);
                missing.AddRange(await RecordAsync(schedule, settlement, cancellationToken));
                if (settlement.SettledUntil is { } end && schedule.Settle(end))
                {
                    settled.Add(schedule);
                }
                schedule.IsBroken = false;
            }
            catch (Exception e) when (IsOfOneSchedule(e))
            {
                SetAside(schedule, e);
            }
        }
    }

    private void Tell(Look look, CatchUpRule rule, Settlement settlement)
    {
        var (job, trigger) = (look.Schedule.Policy.Job, look.Schedule.Trigger);
        if (look.LeftOut && settlement.Missing.Count > 0)
        {
            JobLog.MoreThanTheLimit(logger, job, trigger, rule.Limit, look.Due[0]);
        }
        if (settlement.LeftOut is [var oldest, ..] leftOut)
        {
            JobLog.LeftOut(logger, job, trigger, leftOut.Count, oldest, leftOut[^1], rule);
        }
    }

    private async ValueTask<IReadOnlyList<Launch>> RecordAsync(
        TrackedSchedule schedule,
        Settlement settlement,
        CancellationToken cancellationToken
    )
    {
        if (settlement.Overlapped.Count + settlement.After.Count + settlement.Missing.Count == 0)
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
        return
        [
            .. settlement.After.Select(at => LaunchAt(at, "the one before it ran when it was due")),
            .. settlement.Missing.Select(at => LaunchAt(at, "no replica has run it")),
        ];

        Launch LaunchAt(DateTimeOffset at, string why) => new(new Occurrence(job, trigger, at), lockKey, null, data, why);
    }

    /// <summary>Asks for many at once; what is refused because of one of them is asked for each alone.</summary>
    private async ValueTask ForAllAsync<T>(IEnumerable<T> all, Func<T, TrackedSchedule> scheduleOf, Func<IReadOnlyList<T>, ValueTask> work)
    {
        foreach (var chunk in all.Chunk(Together))
        {
            try
            {
                await work(chunk);
            }
            catch (Exception e) when (IsOfOneSchedule(e))
            {
                if (chunk is [var only])
                {
                    SetAside(scheduleOf(only), e);
                    continue;
                }
                foreach (var one in chunk)
                {
                    await ForAllAsync([one], scheduleOf, work);
                }
            }
        }
    }

    private static DateTimeOffset Min(DateTimeOffset one, DateTimeOffset other) => one < other ? one : other;

    // One schedule that cannot be judged must not keep the others from it.
    private static bool IsOfOneSchedule(Exception e) => e is not (StateUnavailableException or OperationCanceledException);

    private void SetAside(TrackedSchedule schedule, Exception reason)
    {
        if (!schedule.IsBroken)
        {
            JobLog.ReconcilerFailed(logger, reason);
        }
        schedule.IsBroken = true;
    }

    private sealed record Look(TrackedSchedule Schedule, IReadOnlyList<DateTimeOffset> Due, bool LeftOut, DateTimeOffset Until)
    {
        /// <summary>From the bound up to which it is settled, or from the first one that is not left out.</summary>
        public OccurrenceRange Range =>
            new(
                Schedule.Policy.Job,
                Schedule.Trigger,
                LeftOut ? Due[0] - TimeSpan.FromMilliseconds(1) : Schedule.SettledUntil!.Value,
                Until
            );
    }
}
