using System.Reflection;
using System.Runtime.InteropServices;

namespace Scheduler.Bench.Harness;

/// <summary>Where the figures were measured.</summary>
internal static class Machine
{
    public static string Cpu { get; } = ReadCpu();

    public static string System { get; } = $"{ReadSystem()}, kernel {Environment.OSVersion.Version}, {RuntimeInformation.OSArchitecture}";

    public static string Runtime => RuntimeInformation.FrameworkDescription;

    /// <summary>The versions of the packages that do the work.</summary>
    public static IEnumerable<(string Name, string Version)> Versions()
    {
        foreach (
            var assembly in (Assembly[])
                [
                    typeof(StackExchange.Redis.ConnectionMultiplexer).Assembly,
                    typeof(Npgsql.NpgsqlConnection).Assembly,
                    typeof(Quartz.IJob).Assembly,
                    typeof(Microsoft.Data.Sqlite.SqliteConnection).Assembly,
                ]
        )
        {
            var version =
                assembly.GetCustomAttribute<AssemblyInformationalVersionAttribute>()?.InformationalVersion
                ?? assembly.GetName().Version!.ToString();
            yield return (assembly.GetName().Name!, version.Split('+')[0]);
        }
        yield return ("SQLite", Floors.RawSqlite.Version());
    }

    private static string ReadCpu() =>
        File.Exists("/proc/cpuinfo")
            ? File.ReadLines("/proc/cpuinfo")
                .Where(l => l.StartsWith("model name", StringComparison.Ordinal))
                .Select(l => l[(l.IndexOf(':', StringComparison.Ordinal) + 1)..].Trim())
                .FirstOrDefault("unknown processor")
            : "unknown processor";

    private static string ReadSystem() =>
        File.Exists("/etc/os-release")
            ? File.ReadLines("/etc/os-release")
                .Where(l => l.StartsWith("PRETTY_NAME=", StringComparison.Ordinal))
                .Select(l => l["PRETTY_NAME=".Length..].Trim('"'))
                .FirstOrDefault(RuntimeInformation.OSDescription)
            : RuntimeInformation.OSDescription;
}
