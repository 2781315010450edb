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

    /// <summary>What exclusion must be worth at least; a weaker lock store or State stops the host. Default:
    /// <see cref="Level.Efficiency"/>.</summary>
    public Level Level { get; set; } = Level.Efficiency;

    internal TimeSpan? LeaseDuration => Lease is null ? null : TimeSpan.Parse(Lease, CultureInfo.InvariantCulture);
}

/// <summary>Marks a job that runs on every replica on purpose, without a lock.</summary>
[AttributeUsage(AttributeTargets.Class, Inherited = true)]
public sealed class EveryReplicaAttribute : Attribute;
