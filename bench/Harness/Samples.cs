namespace Scheduler.Bench.Harness;

/// <summary>Percentiles of durations, by sorting them.</summary>
internal static class Samples
{
    /// <summary>The smallest sample that at least this share of all is not larger than.</summary>
    /// <param name="sorted">Ascending, not empty.</param>
    /// <param name="share">0 to 1.</param>
    public static T Percentile<T>(IReadOnlyList<T> sorted, double share) =>
        sorted.Count == 0
            ? throw new InvalidOperationException("Nothing was measured: there are no samples.")
            : sorted[Math.Clamp((int)Math.Ceiling(share * sorted.Count) - 1, 0, sorted.Count - 1)];
}
