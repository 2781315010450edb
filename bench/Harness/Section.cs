namespace Scheduler.Bench.Harness;

/// <summary>One table: the readings of this scheduler and of one floor, round by round.</summary>
/// <param name="title">Its heading.</param>
/// <param name="floorName">What the floor is.</param>
/// <param name="goals">What rows are meant to reach, by row.</param>
internal sealed class Section(string title, string? floorName, IReadOnlyDictionary<string, Goal>? goals = null)
{
    private readonly List<(Reading First, List<double> Values)> _ours = [];
    private readonly Dictionary<string, List<double>> _floor = new(StringComparer.Ordinal);

    public string Title => title;

    public string? FloorName => floorName;

    public void AddOurs(IEnumerable<Reading> readings)
    {
        foreach (var reading in readings)
        {
            var row = _ours.Find(o => o.First.Row == reading.Row).Values;
            if (row is null)
            {
                row = [];
                _ours.Add((reading, row));
            }
            row.Add(reading.Value);
        }
    }

    public void AddFloor(IEnumerable<Reading> readings)
    {
        foreach (var reading in readings)
        {
            if (!_floor.TryGetValue(reading.Row, out var row))
            {
                _floor[reading.Row] = row = [];
            }
            row.Add(reading.Value);
        }
    }

    /// <summary>Measures ours, the floor, ours, the floor, and so on, so that what else the machine does meets both alike.</summary>
    public async Task CompareAsync(int rounds, Func<Task<IReadOnlyList<Reading>>> ours, Func<Task<IReadOnlyList<Reading>>>? floor)
    {
        for (var round = 1; round <= rounds; round++)
        {
            AddOurs(await ours());
            if (floor is not null)
            {
                AddFloor(await floor());
            }
        }
    }

    public IEnumerable<Figure> Figures()
    {
        foreach (var (first, values) in _ours)
        {
            var ours = Spread.Of(values);
            var floor = _floor.TryGetValue(first.Row, out var beside) ? beside : null;
            var ratio = floor is null ? null : RatioOf(values, floor);
            var goal = goals?.GetValueOrDefault(first.Row);
            yield return new Figure(
                title,
                first.Row,
                first.Unit,
                ours,
                floor is null ? null : floorName,
                floor is null ? null : Spread.Of(floor),
                ratio,
                goal?.ToString(),
                goal?.IsMet(ours, ratio)
            );
        }
    }

    private Spread RatioOf(List<double> ours, List<double> floor) =>
        ours.Count == floor.Count && floor.TrueForAll(f => f > 0)
            ? Spread.Of([.. ours.Zip(floor, (o, f) => o / f)])
            : throw new InvalidOperationException(
                $"'{title}': a row has {ours.Count} rounds of ours and {floor.Count} of the floor, or a floor of zero."
            );
}
