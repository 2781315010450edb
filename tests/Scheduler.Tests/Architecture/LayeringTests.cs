using System.Xml.Linq;

namespace Scheduler.Tests.Architecture;

/// <summary>Who may reference whom (DESIGN section 3): by the project files, and by what the compiled assemblies really use.</summary>
public sealed class LayeringTests
{
    /// <summary>What a project may use beside .NET itself; a name that ends in '*' stands for all that start so.</summary>
    private sealed record Layer(string[] Projects, string[] Packages, string[] AlsoUses, bool AspNetFramework = false);

    private static readonly Dictionary<string, Layer> Layers = new(StringComparer.Ordinal)
    {
        ["Scheduler.Core"] = new([], ["Microsoft.Extensions.*"], []),
        // Knows no driver: the application brings one.
        ["Scheduler.MySql"] = new(["Scheduler.Core"], [], []),
        ["Scheduler.Postgres"] = new(["Scheduler.Core"], ["Npgsql"], ["Microsoft.Extensions.*"]),
        ["Scheduler.Redis"] = new(["Scheduler.Core"], ["StackExchange.Redis"], ["Microsoft.Extensions.*"]),
        ["Scheduler.Sqlite"] = new(
            ["Scheduler.Core"],
            ["Dapper", "Microsoft.Data.Sqlite.Core", "SQLitePCLRaw.*"],
            ["Microsoft.Data.Sqlite", "Microsoft.Extensions.*"]
        ),
        // Quartz needs the shared framework to restore; using ASP.NET from it is another matter, see below.
        ["Scheduler.Jobs"] = new(["Scheduler.Core"], ["Quartz"], ["Microsoft.Extensions.*"], AspNetFramework: true),
        ["Payments.Jobs"] = new(
            ["Scheduler.Jobs", "Scheduler.Sqlite", "Scheduler.Webhooks"],
            [],
            ["Scheduler.Core", "Quartz", "Dapper", "Microsoft.Data.Sqlite", "Microsoft.Extensions.*"],
            AspNetFramework: true
        ),
        // What a delivery is; the endpoint that has the request is the worker's.
        ["Scheduler.Webhooks"] = new(["Scheduler.Core"], [], ["Microsoft.Extensions.*"]),
        ["Scheduler.Worker"] = new(
            ["Scheduler.*", "Payments.Jobs"],
            ["Serilog*"],
            ["Quartz", "Microsoft.Extensions.*", "Microsoft.AspNetCore*"],
            AspNetFramework: true
        ),
        // Measures the product, the whole worker too, beside hand-written code on the same drivers, so it knows them all; nothing knows it.
        ["Scheduler.Bench"] = new(
            ["Scheduler.*", "Payments.Jobs"],
            ["Dapper", "Npgsql", "Quartz", "StackExchange.Redis", "Microsoft.Data.Sqlite.Core", "SQLitePCLRaw.*"],
            ["scheduler", "Serilog", "Microsoft.Data.Sqlite", "Microsoft.Extensions.*", "Microsoft.AspNetCore*"],
            AspNetFramework: true
        ),
    };

    public static TheoryData<string> Projects => [.. Repository.Files("*.csproj", "src", "jobs", "bench").Select(Repository.Relative)];

    [Fact]
    public void Every_layer_has_its_project() =>
        Assert.Equal(
            Layers.Keys.Order(StringComparer.Ordinal),
            Projects.Select(p => Path.GetFileNameWithoutExtension(p.Data)).Order(StringComparer.Ordinal)
        );

    [Theory]
    [MemberData(nameof(Projects))]
    public void A_project_file_references_its_own_technology_only(string file)
    {
        var layer = LayerOf(file);
        var project = XDocument.Load(Path.Combine(Repository.Root, file));
        IEnumerable<string> Includes(string element) =>
            project.Descendants(element).Select(e => (string?)e.Attribute("Include") ?? "").Where(i => i.Length > 0);

        Allowed(file, Includes("ProjectReference").Select(p => Path.GetFileNameWithoutExtension(p.Replace('\\', '/'))), layer.Projects);
        Allowed(file, Includes("PackageReference"), layer.Packages);
        Allowed(file, Includes("FrameworkReference"), layer.AspNetFramework ? ["Microsoft.AspNetCore.App"] : []);
        Allowed(file, Includes("Reference"), []);
    }

    [Theory]
    [MemberData(nameof(Projects))]
    public void An_assembly_uses_its_own_technology_only(string file)
    {
        var layer = LayerOf(file);
        var name = Path.GetFileNameWithoutExtension(file);
        var assembly = Repository
            .Product.Append(Repository.Bench)
            .Single(a => a.GetName().Name == (name == "Scheduler.Worker" ? "scheduler" : name));

        Allowed(
            $"{name}.dll",
            assembly.GetReferencedAssemblies().Select(a => a.Name!),
            [
                .. layer.Projects,
                .. layer.Packages,
                .. layer.AlsoUses,
                "System",
                "System.*",
                "Microsoft.Win32.Primitives",
                "netstandard",
                "Microsoft.CSharp",
            ]
        );
    }

    [Fact]
    public void A_wrong_reference_is_noticed()
    {
        Assert.ThrowsAny<Exception>(() => Allowed("Scheduler.Core.dll", ["Quartz"], ["System.*", "Microsoft.Extensions.*"]));
        Assert.ThrowsAny<Exception>(() => Allowed("Scheduler.Core.dll", ["Microsoft.AspNetCore.Http"], ["Microsoft.Extensions.*"]));
        Allowed("Scheduler.Core.dll", ["System.Runtime"], ["System.*"]);
    }

    private static Layer LayerOf(string file) =>
        Layers.TryGetValue(Path.GetFileNameWithoutExtension(file), out var layer)
            ? layer
            : throw new InvalidOperationException($"{file} is a new project: say in {nameof(LayeringTests)} what it may reference.");

    private static void Allowed(string who, IEnumerable<string> used, string[] allowed)
    {
        var wrong = used.Where(u => !allowed.Any(a => a.EndsWith('*') ? u.StartsWith(a[..^1], StringComparison.Ordinal) : u == a)).ToList();
        Assert.True(wrong.Count == 0, $"{who} references {string.Join(", ", wrong)}; allowed are {string.Join(", ", allowed)}.");
    }
}
