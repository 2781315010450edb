using Scheduler.Bench.Harness;

namespace Scheduler.Bench.Fires;

/// <summary>The command <c>fires</c>: systems of ours beside Quartz's own cluster, each at its turn in every round.</summary>
internal static class FiresCommand
{
    private const double LargestAddedMs = 2;

    public static async Task RunAsync(Plan plan, Report report)
    {
        await using var servers = await FireServers.StartAsync(report);
        var measure = new FireMeasurements(plan, report, servers);
        var ours = FireSystems.Ours.Where(s => plan.Stores.Contains(s.Name)).ToList();
        List<FireSystem> all = [.. ours, FireSystems.ClusterDefault, FireSystems.ClusterBest, FireSystems.Alone];
        var found = all.ToDictionary(s => s, _ => new List<Reading>());
        for (var round = 1; round <= plan.Rounds; round++)
        {
            // In the short form they run beside the rest, whose figures say nothing anyway.
            var early = plan.Quick ? TakeOversAsync() : null;
            foreach (var processes in plan.Processes)
            {
                foreach (var system in all)
                {
                    await MeasureAsync(measure, system, processes, found[system]);
                }
            }
            foreach (var (system, readings) in all.Zip(await (early ?? TakeOversAsync())))
            {
                found[system].AddRange(readings);
            }
        }
        foreach (var system in ours)
        {
            Show(report, system, FireSystems.ClusterBest, system.BesideBest, found);
            Show(report, system, FireSystems.ClusterDefault, system.BesideDefault, found);
            ShowAdded(plan, report, system, found);
        }

        // Nearly all of it is waiting, so they do not disturb each other.
        Task<IReadOnlyList<Reading>[]> TakeOversAsync() => Task.WhenAll(all.SkipLast(1).Select(measure.TakeOverAsync));
    }

    private static async Task MeasureAsync(FireMeasurements measure, FireSystem system, int processes, List<Reading> found)
    {
        if (system == FireSystems.Alone)
        {
            // Without coordination there is one process, whatever stands beside it.
            var alone = await measure.SteadyAsync(system, processes: 1);
            var one = FireMeasurements.Processes(1);
            found.AddRange(
                alone
                    .Where(r => IsAdded(r) || IsLateness(r))
                    .Select(r => r with { Row = FireMeasurements.Processes(processes) + r.Row[one.Length..] })
            );
            return;
        }
        found.AddRange(await measure.SaturateAsync(system, processes));
        found.AddRange(await measure.SteadyAsync(system, processes));
    }

    private static void Show(
        Report report,
        FireSystem ours,
        FireSystem floor,
        IReadOnlyDictionary<string, Goal>? goals,
        Dictionary<FireSystem, List<Reading>> found
    )
    {
        var section = new Section($"{ours.Name}", floor.Name, goals);
        section.AddOurs(found[ours].Where(r => !IsAdded(r)));
        section.AddFloor(found[floor].Where(r => !IsAdded(r) && !r.Row.EndsWith("of these Redis", StringComparison.Ordinal)));
        report.Add(section);
    }

    private static void ShowAdded(Plan plan, Report report, FireSystem ours, Dictionary<FireSystem, List<Reading>> found)
    {
        var goals = plan.Processes.ToDictionary(p => FireMeasurements.AddedRow(p, "p99"), _ => Goal.AtMost(LargestAddedMs));
        var section = new Section(
            $"{ours.Name}: what is added to Quartz alone, from its call of the middleware to the body",
            FireSystems.Alone.Name,
            ours.Name == "redis+sqlite" ? goals : null
        );
        section.AddOurs(found[ours].Where(r => IsAdded(r) || IsLateness(r)));
        section.AddFloor(found[FireSystems.Alone]);
        report.Add(section);
    }

    private static bool IsAdded(Reading reading) => reading.Row.Contains(": added", StringComparison.Ordinal);

    private static bool IsLateness(Reading reading) => reading.Row.Contains(": lateness", StringComparison.Ordinal);
}
