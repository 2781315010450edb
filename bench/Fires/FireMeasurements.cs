using System.Diagnostics;
using Scheduler.Bench.Harness;

namespace Scheduler.Bench.Fires;

/// <summary>One round of each measurement of one system.</summary>
internal sealed class FireMeasurements(Plan plan, Report report, FireServers servers)
{
    private static readonly TimeSpan LongestDrain = TimeSpan.FromSeconds(90);
    private static readonly TimeSpan Look = TimeSpan.FromMilliseconds(200);
    private static readonly TimeSpan BeforeKill = TimeSpan.FromSeconds(2);

    // All due in the same instant, again and again: how fast the whole set gets through them is what it can do at most.
    private readonly Workload _wave = plan.Quick ? new("wave", 100, "0/5 * * * * ?") : new("wave", 2_000, "0/10 * * * * ?");

    private readonly Workload _steady = new("steady", 20, Cron: null);

    private readonly Workload _blocking = new("blocking", 1, "0/5 * * * * ?", Blocks: true);

    // Code that has run a few times only is not yet compiled as it will be for the rest of a process's life, on either side.
    private int WarmUpWaves => plan.Quick ? 0 : 3;

    private TimeSpan BeforeSteady => TimeSpan.FromSeconds(plan.Quick ? 2.5 : 15);

    private TimeSpan SteadyTime => TimeSpan.FromSeconds(plan.Quick ? 1.5 : 20);

    /// <summary>Fires a second at saturation: the first waves warm up, the last one counts.</summary>
    public async Task<IReadOnlyList<Reading>> SaturateAsync(FireSystem system, int processes)
    {
        var place = await servers.PlaceAsync(system, _wave);
        await using var set = await FireSet.StartAsync(system, _wave, place, processes);
        var first = _wave.NextAfter(0, TimeProvider.System.GetUtcNow());
        var counted = first;
        for (var wave = 0; wave < WarmUpWaves; wave++)
        {
            counted = _wave.NextAfter(0, counted);
        }
        await UntilAsync(counted - TimeSpan.FromMilliseconds(500));
        var before = await set.CountAsync();
        await UntilAsync(counted);
        await set.ReachAsync(before + _wave.Jobs, LongestDrain);
        var fired = await CheckedAsync(system, set, [.. _wave.Between(first.AddSeconds(-1), counted)]);
        await set.EndAsync();
        var took = fired.Where(f => f.Due == counted.ToUnixTimeMilliseconds()).Max(f => f.LateMs) / 1_000;
        return [new($"{Processes(processes)}: fires", "1/s", _wave.Jobs / took)];
    }

    /// <summary>20 fires a second: how late the bodies begin, what the middleware adds, and what the servers are asked for each.</summary>
    public async Task<IReadOnlyList<Reading>> SteadyAsync(FireSystem system, int processes)
    {
        var place = await servers.PlaceAsync(system, _steady);
        await using var set = await FireSet.StartAsync(system, _steady, place, processes);
        var start = TimeProvider.System.GetUtcNow() + BeforeSteady;
        var end = start + SteadyTime;
        await UntilAsync(start);
        var before = await servers.CallsAsync();
        await UntilAsync(end);
        var after = await servers.CallsAsync();
        var due = _steady.Between(start, end).ToHashSet();
        var fired = await CheckedAsync(system, set, due);
        await set.EndAsync();

        var inside = fired.Where(f => due.Contains((f.Job, f.Due))).ToList();
        var late = inside.Select(f => f.LateMs).Order().ToList();
        var added = inside.Select(f => f.AddedMs).Order().ToList();
        var name = Processes(processes);
        return
        [
            new($"{name}: lateness p50", "ms", Samples.Percentile(late, 0.5)),
            new($"{name}: lateness p99", "ms", Samples.Percentile(late, 0.99)),
            new(
                $"{name}: SQL statements and Redis calls for a fire",
                "",
                (after.Sql - before.Sql + after.Redis - before.Redis) / (double)inside.Count
            ),
            new($"{name}: of these Redis", "", (after.Redis - before.Redis) / (double)inside.Count),
            new(AddedRow(processes, "p50"), "ms", Samples.Percentile(added, 0.5)),
            new(AddedRow(processes, "p99"), "ms", Samples.Percentile(added, 0.99)),
        ];
    }

    /// <summary>How long after <c>kill -9</c> of the process that runs a job another one runs it.</summary>
    public async Task<IReadOnlyList<Reading>> TakeOverAsync(FireSystem system)
    {
        var place = await servers.PlaceAsync(system, _blocking);
        await using var set = await FireSet.StartAsync(system, _blocking, place, processes: 2);
        var lines = set.Children.Select(c => c.LineAsync()).ToList();
        var first = lines.IndexOf(await Task.WhenAny(lines));
        await Task.Delay(BeforeKill, TimeProvider.System);
        await set.Children[first].KillAsync();
        var killed = Stopwatch.GetTimestamp();
        var survivor = set.Children[1 - first];
        // A later due time that gets the key first, because the disk was busy for seconds, must not keep it for ever.
        await survivor.TellAsync(FireReplica.GoOn);
        try
        {
            for (var line = await lines[1 - first]; line != FireReplica.TakenOver; line = await survivor.LineAsync())
            {
                // Later due times of the same job, where the system lets them run beside the one before.
            }
        }
        catch (TimeoutException e)
        {
            throw new InvalidOperationException($"{system.Name}: the run of a killed process was not taken over in time.", e);
        }
        return [new($"{Processes(2)}: take-over after kill -9", "s", Stopwatch.GetElapsedTime(killed).TotalSeconds)];
    }

    public static string Processes(int count) => count == 1 ? "1 process" : $"{count} processes";

    public static string AddedRow(int processes, string percentile) => $"{Processes(processes)}: added {percentile}";

    // What is due has its time to run, late though it may be; then every occurrence is to have run once.
    private async Task<IReadOnlyList<Fired>> CheckedAsync(FireSystem system, FireSet set, IReadOnlyCollection<(string Job, long Due)> due)
    {
        var start = Stopwatch.GetTimestamp();
        var fired = await set.ReportAsync();
        while (due.Except(fired.Select(f => (f.Job, f.Due))).Any() && Stopwatch.GetElapsedTime(start) < LongestDrain)
        {
            await Task.Delay(Look, TimeProvider.System);
            fired = await set.ReportAsync();
        }
        var doubled = fired.GroupBy(f => (f.Job, f.Due)).Where(g => g.Count() > 1).Select(g => g.Key).ToList();
        var lost = due.Except(fired.Select(f => (f.Job, f.Due))).ToList();
        if (doubled.Count > 0)
        {
            report.Problem($"{system.Name}: {doubled.Count} occurrences ran more than once, such as {doubled[0]}.");
        }
        if (lost.Count > 0)
        {
            report.Problem($"{system.Name}: {lost.Count} of {due.Count} occurrences did not run, such as {lost[0]}.");
        }
        return fired;
    }

    private static async Task UntilAsync(DateTimeOffset time)
    {
        var left = time - TimeProvider.System.GetUtcNow();
        if (left > TimeSpan.Zero)
        {
            await Task.Delay(left, TimeProvider.System);
        }
    }
}
