using Scheduler.Locking;

namespace Scheduler.Jobs;

/// <summary>How this replica takes part in its group. Validated when the host starts.</summary>
public sealed class SingleInstanceOptions
{
    /// <summary>The times of leases.</summary>
    public LeaseOptions Leases { get; set; } = new();

    /// <summary>What people call the replica. Default: host name and process id.</summary>
    public string? ReplicaName { get; set; }

    /// <summary>Where the replica's operations address is, for the list of members; asked at each heartbeat. Default: none.</summary>
    public Func<string?>? OperationsUrl { get; set; }

    /// <summary>How long running bodies may go on after a stop was asked for. Default 30 s; 0 to 1 h.</summary>
    public TimeSpan StopGrace { get; set; } = TimeSpan.FromSeconds(30);

    /// <summary>How long the replica answers requests after it said that it is not ready any more. Default 0; 0 to 5 min.</summary>
    public TimeSpan DrainDelay { get; set; } = TimeSpan.Zero;

    /// <summary>How far the wall clocks of replicas may be apart; occurrences younger than this are left to their own fires. Default 2
    /// s; 100 ms to 1 min.</summary>
    public TimeSpan MaxClockOffset { get; set; } = TimeSpan.FromSeconds(2);

    /// <summary>Whether a job with neither attribute stops the host, instead of a warning. Default: no; the worker host says yes.</summary>
    public bool RequireAttribute { get; set; }

    internal IEnumerable<string> Validate()
    {
        foreach (var problem in LeaseOptionsValidator.Validate(Leases, "Scheduler:Locks"))
        {
            yield return problem;
        }
        if (StopGrace < TimeSpan.Zero || StopGrace > TimeSpan.FromHours(1))
        {
            yield return $"Scheduler:Stop:Grace is {StopGrace}; allowed is 00:00:00 to 01:00:00.";
        }
        if (DrainDelay < TimeSpan.Zero || DrainDelay > TimeSpan.FromMinutes(5))
        {
            yield return $"Scheduler:Stop:DrainDelay is {DrainDelay}; allowed is 00:00:00 to 00:05:00.";
        }
        if (MaxClockOffset < TimeSpan.FromMilliseconds(100) || MaxClockOffset > TimeSpan.FromMinutes(1))
        {
            yield return $"Scheduler:MaxClockOffset is {MaxClockOffset}; allowed is 00:00:00.1 to 00:01:00.";
        }
    }
}
