using System.Diagnostics;

namespace Scheduler.Bench.Harness;

/// <summary>So many workers, each of which begins its next cycle when the one before it has ended.</summary>
internal static class ClosedLoop
{
    // Bounds the memory of the samples, so that keeping them does not become what is measured.
    private const int MaxSamples = 2_000_000;

    /// <summary>
    /// Runs cycles one after another and many at once, until their code is compiled as it will be for the rest of a process's life: in
    /// its first seconds the compiler takes a processor, and what is measured first would pay for what both sides use.
    /// </summary>
    /// <param name="time">For each of them and each way.</param>
    /// <param name="workers">How many is many.</param>
    /// <param name="cycles">One cycle of each side.</param>
    public static async Task CompileAsync(TimeSpan time, int workers, params Func<int, ValueTask>[] cycles)
    {
        foreach (var cycle in cycles)
        {
            await RunForAsync(1, time, cycle);
            await RunForAsync(workers, time, cycle);
        }
    }

    /// <summary>Runs the workers for a while and gives cycles per second, and p50 and p99 of a cycle.</summary>
    /// <param name="workers">How many at once.</param>
    /// <param name="warmUp">Runs before anything counts.</param>
    /// <param name="duration">Runs that count.</param>
    /// <param name="cycle">One cycle of a worker, given its number.</param>
    public static async Task<IReadOnlyList<Reading>> RunAsync(int workers, TimeSpan warmUp, TimeSpan duration, Func<int, ValueTask> cycle)
    {
        await RunForAsync(workers, warmUp, cycle);
        var (count, elapsed, samples) = await RunForAsync(workers, duration, cycle);
        samples.Sort();
        var name = workers == 1 ? "one after another" : $"{workers} at once";
        return
        [
            new($"{name}: cycles", "1/s", count / elapsed.TotalSeconds),
            new($"{name}: p50", "µs", Microseconds(Samples.Percentile(samples, 0.5))),
            new($"{name}: p99", "µs", Microseconds(Samples.Percentile(samples, 0.99))),
        ];
    }

    private static async Task<(long Count, TimeSpan Elapsed, List<long> Samples)> RunForAsync(
        int workers,
        TimeSpan duration,
        Func<int, ValueTask> cycle
    )
    {
        var start = Stopwatch.GetTimestamp();
        var end = start + (long)(duration.TotalSeconds * Stopwatch.Frequency);
        var done = await Task.WhenAll(Enumerable.Range(0, workers).Select(worker => Task.Run(() => WorkAsync(worker))));
        var elapsed = Stopwatch.GetElapsedTime(start);
        return (done.Sum(d => d.Count), elapsed, [.. done.SelectMany(d => d.Samples)]);

        async Task<(long Count, List<long> Samples)> WorkAsync(int worker)
        {
            var samples = new List<long>();
            var count = 0L;
            var before = Stopwatch.GetTimestamp();
            while (before < end)
            {
                await cycle(worker);
                var after = Stopwatch.GetTimestamp();
                if (samples.Count < MaxSamples / workers)
                {
                    samples.Add(after - before);
                }
                count++;
                before = after;
            }
            return (count, samples);
        }
    }

    private static double Microseconds(long ticks) => ticks * 1_000_000.0 / Stopwatch.Frequency;
}
