namespace Scheduler.Bench.Harness;

/// <summary>One number that one round of a measurement found.</summary>
/// <param name="Row">What it is; the same row of the floor stands beside it.</param>
/// <param name="Unit">Its unit.</param>
/// <param name="Value">The number.</param>
internal readonly record struct Reading(string Row, string Unit, double Value);

/// <summary>The numbers of several rounds.</summary>
/// <param name="Median">Their median.</param>
/// <param name="Min">The smallest.</param>
/// <param name="Max">The largest.</param>
/// <param name="Rounds">All, in the order of the rounds.</param>
internal sealed record Spread(double Median, double Min, double Max, IReadOnlyList<double> Rounds)
{
    public static Spread Of(IReadOnlyList<double> rounds)
    {
        var sorted = rounds.Order().ToList();
        var middle = sorted.Count / 2;
        var median = sorted.Count % 2 == 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
        return new Spread(median, sorted[0], sorted[^1], rounds);
    }
}

/// <summary>What a row is meant to reach.</summary>
/// <param name="Kind">What is compared with the bound.</param>
/// <param name="Bound">The bound.</param>
internal sealed record Goal(GoalKind Kind, double Bound)
{
    public static Goal RatioAtLeast(double bound) => new(GoalKind.RatioAtLeast, bound);

    public static Goal RatioAtMost(double bound) => new(GoalKind.RatioAtMost, bound);

    public static Goal AtMost(double bound) => new(GoalKind.ValueAtMost, bound);

    public override string ToString() =>
        Kind switch
        {
            GoalKind.RatioAtLeast => $"≥ {Bound} × floor",
            GoalKind.RatioAtMost => $"≤ {Bound} × floor",
            _ => $"≤ {Bound}",
        };

    public bool IsMet(Spread ours, Spread? ratio) =>
        Kind switch
        {
            GoalKind.RatioAtLeast => ratio is not null && ratio.Median >= Bound,
            GoalKind.RatioAtMost => ratio is not null && ratio.Median <= Bound,
            _ => ours.Median <= Bound,
        };
}

internal enum GoalKind
{
    RatioAtLeast,
    RatioAtMost,
    ValueAtMost,
}

/// <summary>One row of a table.</summary>
/// <param name="Section">The table.</param>
/// <param name="Row">What it is.</param>
/// <param name="Unit">Its unit.</param>
/// <param name="Ours">This scheduler.</param>
/// <param name="FloorName">What stands beside it.</param>
/// <param name="Floor">The same of the floor; none where no hand-written code could do it.</param>
/// <param name="Ratio">Ours divided by the floor, round by round.</param>
/// <param name="Goal">What it is meant to reach.</param>
/// <param name="GoalMet">Whether it does; <see langword="null"/> without a goal.</param>
internal sealed record Figure(
    string Section,
    string Row,
    string Unit,
    Spread Ours,
    string? FloorName,
    Spread? Floor,
    Spread? Ratio,
    string? Goal,
    bool? GoalMet
);
