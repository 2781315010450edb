using System.Globalization;
using Scheduler.Locking;
using Scheduler.Runs;

namespace Scheduler.Jobs;

/// <summary>
/// Marks a plain Quartz job whose occurrences each run on exactly one replica of the group: a lock for the job's key is taken before
/// the body runs, the occurrence is claimed, and the lease is renewed while the body runs.
/// </summary>
[AttributeUsage(AttributeTargets.Class, Inherited = true)]
public sealed class SingleInstanceAttribute : Attribute
{
    /// <summary>
    /// The lock key, with placeholders from the job data in braces, for example <c>settle:{merchantId}</c>; values are percent-encoded.
    /// Default: <c>job:{the job's name}</c>. 1 to 512 bytes of UTF-8 when filled in.
    /// </summary>
    public string? Key { get; set; }

    /// <summary>How long the lease lasts without renewal, as a time span text. Default: the group's lease duration; at least 1 s.</summary>
    public string? Lease { get; set; }

    /// <summary>What becomes of a run whose replica died. Default: it runs again under a larger token.</summary>
    public OnCrash OnCrash { get; set; } = OnCrash.RunAgain;

    /// <summary>How many crashes a run survives; the next makes it dead. Default 3; 0 to 1,000.</summary>
    public int MaxCrashes { get; set; } = 3;

    /// <summary>What becomes of occurrences that come due while one of the same trigger runs. Default: they are skipped. Needs a
    /// State.</summary>
    public OnOverlap OnOverlap { get; set; } = OnOverlap.Skip;

    /// <summary>Which missed occurrences are made up for. Default: the newest one. Needs a State; without one nothing is.</summary>
    public CatchUp CatchUp { get; set; } = CatchUp.Latest;

    /// <summary>
    /// How late a missed occurrence may be made up for, as a time span text. Default: one period of its schedule, and with
    /// <see cref="CatchUp.All"/> without a bound; 5 s to 366 days.
    /// </summary>
    public string? CatchUpWithin { get; set; }

    /// <summary>How many missed occurrences of a trigger are made up for, the newest ones. Default 1,000; 1 to 10,000.</summary>
    public int CatchUpLimit { get; set; } = CatchUpRule.DefaultLimit;

    /// <summary>What exclusion must be worth at least; a weaker lock store or State stops the host. Default:
    /// <see cref="Level.Efficiency"/>.</summary>
    public Level Level { get; set; } = Level.Efficiency;

    internal TimeSpan? CatchUpBound => CatchUpWithin is null ? null : TimeSpan.Parse(CatchUpWithin, CultureInfo.InvariantCulture);

    internal TimeSpan? LeaseDuration => Lease is null ? null : TimeSpan.Parse(Lease, CultureInfo.InvariantCulture);
}

/// <summary>Marks a job that runs on every replica on purpose, without a lock.</summary>
[AttributeUsage(AttributeTargets.Class, Inherited = true)]
public sealed class EveryReplicaAttribute : Attribute;
