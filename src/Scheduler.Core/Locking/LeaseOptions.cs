namespace Scheduler.Locking;

/// <summary>The times of leases. Validated by <see cref="LeaseOptionsValidator"/> when a host starts.</summary>
public sealed class LeaseOptions
{
    /// <summary>How long a lease lasts without a renewal. Default 10 s; 1 s to <see cref="LongestLease"/>.</summary>
    public TimeSpan LeaseDuration { get; set; } = TimeSpan.FromSeconds(10);

    /// <summary>The longest lease anybody in the group may ask for. Default 30 s; 1 s to 10 min.</summary>
    public TimeSpan LongestLease { get; set; } = TimeSpan.FromSeconds(30);

    /// <summary>How often a lease is renewed. Default: a third of its duration; at most 40 % of it, and at least 100 ms.</summary>
    public TimeSpan? RenewalInterval { get; set; }

    /// <summary>The time limit of one call to the store. Default 1 s; 10 ms to 10 s.</summary>
    public TimeSpan CallTimeout { get; set; } = TimeSpan.FromSeconds(1);

    /// <summary>How long a store that counts as down is left alone between two probes. Default 1 s; 10 ms to 1 min.</summary>
    public TimeSpan ProbeInterval { get; set; } = TimeSpan.FromSeconds(1);

    /// <summary>How many grants with unknown outcome are dropped in the background at once. Default 10,000; 1 to 1,000,000.</summary>
    public int MaxPendingDrops { get; set; } = 10_000;

    /// <summary>
    /// How many threads tell of lost leases at once; one that blocks in a callback delays no other below this number. Default 32; 1 to
    /// 1,000.
    /// </summary>
    public int MaxNotifierThreads { get; set; } = 32;
}
