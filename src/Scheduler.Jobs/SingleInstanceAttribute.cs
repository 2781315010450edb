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

    /// <summary>How many of the last lines that a body logs are kept with its run, at level Information and above, each cut after 500
    /// characters. Default 0; at most 200. Needs a State.</summary>
    public int KeepLog { get; set; }

    /// <summary>How many attempts of a run may fail; after the last one it is dead. Default 1: the first failure is final; at most 1,000.
    /// Crashes, stops and outages are no failures. Needs a State; without one a run is tried once.</summary>
    public int MaxAttempts { get; set; } = 1;

    /// <summary>The time from a failure to the next attempt, as a time span text. Default 10 s; 0 to 7 days.</summary>
    public string? RetryDelay { get; set; }

    /// <summary>How that time grows. Default: not at all.</summary>
    public RetryBackoff RetryBackoff { get; set; } = RetryBackoff.Fixed;

    /// <summary>Where it ends to grow, as a time span text. Default 1 h; the delay to 7 days.</summary>
    public string? RetryMaxDelay { get; set; }

    /// <summary>By which share of itself that time is longer or shorter at random. Default 0.2; 0 to 1.</summary>
    public double RetryJitter { get; set; } = RetryRule.None.Jitter;

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

    internal TimeSpan? CatchUpBound => Time(CatchUpWithin);

    internal TimeSpan? LeaseDuration => Time(Lease);

    internal TimeSpan? RetryPause => Time(RetryDelay);

    internal TimeSpan? LongestRetryPause => Time(RetryMaxDelay);

    private static TimeSpan? Time(string? text) => text is null ? null : TimeSpan.Parse(text, CultureInfo.InvariantCulture);
}

/// <summary>Marks a job that runs on every replica on purpose, without a lock.</summary>
[AttributeUsage(AttributeTargets.Class, Inherited = true)]
public sealed class EveryReplicaAttribute : Attribute;
