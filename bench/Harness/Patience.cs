using Scheduler.Locking;

namespace Scheduler.Bench.Harness;

/// <summary>The options of what is measured in a process of the benchmark's own.</summary>
internal static class Patience
{
    /// <summary>
    /// The defaults, but with the longest time limit that an application may set: a disk or a processor that stalls for a second belongs
    /// in the figures and does not end the measurement.
    /// </summary>
    public static LeaseOptions Options() => new() { CallTimeout = TimeSpan.FromSeconds(10) };
}
