using Scheduler.Jobs.Schedules;
using Scheduler.Runs;

namespace Scheduler.Jobs.Reconciliation;

/// <summary>A schedule of this replica and how far its past is settled. Used by the reconciler's loop alone.</summary>
internal sealed class TrackedSchedule(JobPolicy policy, string trigger, Schedule schedule, Quartz.JobDataMap data)
{
    // Settling is written down rarely: what was settled since is looked at again after a restart, and has rows by then.
    private static readonly TimeSpan WriteInterval = TimeSpan.FromSeconds(30);

    private DateTimeOffset _written;
    private DateTimeOffset _quietUntil = DateTimeOffset.MinValue;

    /// <summary>The job's policy.</summary>
    public JobPolicy Policy => policy;

    /// <summary>The trigger's name.</summary>
    public string Trigger => trigger;

    /// <summary>When it is due.</summary>
    public Schedule Schedule => schedule;

    /// <summary>The data of its fires.</summary>
    public Quartz.JobDataMap Data => data;

    /// <summary>Whether the last look at it failed for a reason of its own; said once.</summary>
    public bool IsBroken { get; set; }

    /// <summary>How far its past is settled; <see langword="null"/> before State was asked.</summary>
    public DateTimeOffset? SettledUntil { get; private set; }

    /// <summary>What identifies the definition.</summary>
    public ScheduleKey Key => new(policy.Job, trigger, schedule.Fingerprint);

    /// <summary>What came due since the bound up to which it is settled.</summary>
    /// <param name="until">Later ones are left out.</param>
    /// <param name="limit">How many at most, the newest ones.</param>
    public (IReadOnlyList<DateTimeOffset> Due, bool LeftOut) Due(DateTimeOffset until, int limit)
    {
        // Asked once a second and more, and an expression takes its time to say that nothing is due.
        if (SettledUntil is not { } after || until < _quietUntil)
        {
            return ([], false);
        }
        var (due, leftOut) = until > after ? schedule.Between(after, until, limit) : ([], false);
        if (due.Count == 0)
        {
            _quietUntil = schedule.Next(after) ?? DateTimeOffset.MaxValue;
        }
        return (due, leftOut);
    }

    /// <summary>Takes what State knows.</summary>
    public void Observe(ScheduleRecord record)
    {
        SettledUntil = record.SettledUntil;
        _quietUntil = DateTimeOffset.MinValue;
        _written = record.SettledUntil;
    }

    /// <summary>State is to be asked again.</summary>
    public void Forget() => SettledUntil = null;

    /// <summary>Moves forward.</summary>
    /// <returns>Whether the new bound is to be written down now.</returns>
    public bool Settle(DateTimeOffset until)
    {
        SettledUntil = until;
        if (until - _written < WriteInterval)
        {
            return false;
        }
        _written = until;
        return true;
    }
}
