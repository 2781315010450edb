using System.Globalization;
using System.Text.Encodings.Web;
using System.Text.Json;
using System.Text.Json.Serialization;

namespace Scheduler.Bench.Harness;

/// <summary>Everything that a run found: prints tables as they are ready, and keeps it all for the JSON file.</summary>
/// <param name="plan">What was asked for.</param>
internal sealed class Report(Plan plan)
{
    private static readonly JsonSerializerOptions Json = new(JsonSerializerDefaults.Web)
    {
        WriteIndented = true,
        Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping,
        Converters = { new JsonStringEnumConverter() },
    };

    private readonly List<Figure> _figures = [];
    private readonly List<string> _problems = [];
    private readonly SortedDictionary<string, string> _versions = new(StringComparer.Ordinal);

    /// <summary>What went wrong in what was measured: lost or doubled work. The run then fails.</summary>
    public IReadOnlyList<string> Problems => _problems;

    /// <summary>Notes the version of a server or package.</summary>
    public void Version(string name, string version) => _versions[name] = version;

    /// <summary>Notes that what was measured was not right, and says so at once.</summary>
    public void Problem(string text)
    {
        _problems.Add(text);
        Console.WriteLine($"WRONG: {text}");
    }

    /// <summary>Notes a problem unless something holds.</summary>
    public void Check(bool holds, string otherwise)
    {
        if (!holds)
        {
            Problem(otherwise);
        }
    }

    public static void Say(string text) => Console.WriteLine(text);

    public void Head()
    {
        foreach (var (name, version) in Machine.Versions())
        {
            Version(name, version);
        }
        Say($"{plan.CommandLine}   ({plan.Rounds} rounds{(plan.Quick ? ", quick: the figures say nothing" : "")})");
        Say($"{Machine.Cpu}, {Environment.ProcessorCount} cores, {Machine.System}, {Machine.Runtime}");
    }

    /// <summary>Prints a finished table and keeps it.</summary>
    public void Add(Section section)
    {
        var figures = section.Figures().ToList();
        _figures.AddRange(figures);
        Say("");
        Say(section.FloorName is null ? section.Title : $"{section.Title}   beside: {section.FloorName}");
        Table.Print(
            ["", "unit", "ours (min–max)", "floor (min–max)", "ratio (min–max)", "goal", ""],
            figures.Select(f =>
                (string[])
                    [
                        f.Row,
                        f.Unit,
                        Text(f.Ours),
                        Text(f.Floor),
                        Text(f.Ratio),
                        f.Goal ?? "",
                        f.GoalMet switch
                        {
                            true => "met",
                            false => "missed",
                            null => "",
                        },
                    ]
            )
        );
    }

    /// <summary>Prints what ran and writes the JSON file where one was asked for.</summary>
    public async Task EndAsync()
    {
        Say("");
        Say(string.Join(", ", _versions.Select(v => $"{v.Key} {v.Value}")));
        if (plan.JsonFile is not { } file)
        {
            return;
        }
        var content = new
        {
            command = plan.CommandLine,
            date = TimeProvider.System.GetUtcNow(),
            quick = plan.Quick,
            rounds = plan.Rounds,
            machine = new
            {
                cpu = Machine.Cpu,
                cores = Environment.ProcessorCount,
                system = Machine.System,
                runtime = Machine.Runtime,
            },
            versions = _versions,
            figures = _figures,
            problems = _problems,
        };
        await File.WriteAllTextAsync(file, JsonSerializer.Serialize(content, Json) + "\n");
        Say($"Written to {file}");
    }

    private static string Text(Spread? spread) =>
        spread is null ? "–"
        : spread.Rounds.Count == 1 ? Number(spread.Median)
        : $"{Number(spread.Median)} ({Number(spread.Min)}–{Number(spread.Max)})";

    // Three digits that count.
    private static string Number(double value) =>
        value.ToString(
            Math.Abs(value) switch
            {
                >= 100 => "#,0",
                >= 10 => "0.0",
                >= 1 => "0.00",
                _ => "0.0000",
            },
            CultureInfo.InvariantCulture
        );
}
