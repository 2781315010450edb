using System.Reflection;

namespace Scheduler.Tests.Architecture;

/// <summary>The sources and assemblies that the architecture tests look at.</summary>
internal static class Repository
{
    public static string Root { get; } = FindRoot();

    /// <summary>Our libraries. Named one by one, because an assembly is loaded only when something of it is used.</summary>
    public static IReadOnlyList<Assembly> Libraries { get; } =
    [
        .. (
            (string[])
                [
                    "Scheduler.Core",
                    "Scheduler.Jobs",
                    "Scheduler.MySql",
                    "Scheduler.Postgres",
                    "Scheduler.Redis",
                    "Scheduler.Sqlite",
                    "Scheduler.Webhooks",
                ]
        ).Select(Assembly.Load),
    ];

    /// <summary>Everything that is shipped: the libraries, the worker and the sample jobs.</summary>
    public static IReadOnlyList<Assembly> Product { get; } =
    [.. Libraries, .. ((string[])["scheduler", "Payments.Jobs"]).Select(Assembly.Load)];

    /// <summary>The program that measures; not shipped.</summary>
    public static Assembly Bench { get; } = Assembly.Load("Scheduler.Bench");

    /// <summary>The files below some folders of the repository, without what builds leave there.</summary>
    public static IEnumerable<string> Files(string pattern, params string[] folders) =>
        folders
            .Select(folder => Path.Combine(Root, folder))
            .Where(Directory.Exists)
            .SelectMany(folder => Directory.EnumerateFiles(folder, pattern, SearchOption.AllDirectories))
            .Where(file => !Relative(file).Split('/').Any(part => part is "bin" or "obj" or "data"))
            .Order(StringComparer.Ordinal);

    public static string Relative(string file) => Path.GetRelativePath(Root, file).Replace('\\', '/');

    private static string FindRoot()
    {
        for (var folder = new DirectoryInfo(AppContext.BaseDirectory); folder is not null; folder = folder.Parent)
        {
            if (File.Exists(Path.Combine(folder.FullName, "Scheduler.sln")))
            {
                return folder.FullName;
            }
        }
        throw new InvalidOperationException($"No Scheduler.sln above {AppContext.BaseDirectory}; run the tests from a clone.");
    }
}
