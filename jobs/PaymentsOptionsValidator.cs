using System.Data.Common;
using Scheduler.Sqlite;

namespace Payments.Jobs;

/// <summary>Checks <see cref="PaymentsOptions"/> and <see cref="Maintenance.PruneOptions"/>.</summary>
public static class PaymentsOptionsValidator
{
    /// <summary>Finds everything that is wrong.</summary>
    /// <param name="options">The options in question.</param>
    /// <param name="section">Where they stand in the configuration.</param>
    /// <returns>One sentence per error: key, value, what is allowed. Never the connection string.</returns>
    public static IEnumerable<string> Validate(PaymentsOptions options, string section = PaymentsOptions.Section)
    {
        ArgumentNullException.ThrowIfNull(options);
        if (DatabaseProblem(options.Database) is { } problem)
        {
            yield return $"{section}:Database {problem}";
        }
        var folders = new (string Name, string? Value)[]
        {
            (nameof(options.Inbox), options.Inbox),
            (nameof(options.Done), options.Done),
            (nameof(options.Rejects), options.Rejects),
            (nameof(options.Reports), options.Reports),
        };
        foreach (var (name, value) in folders.Where(f => !IsPath(f.Value)))
        {
            yield return $"{section}:{name} is '{value}'; it must be the path of a folder.";
        }
        foreach (var same in folders.Where(f => IsPath(f.Value)).GroupBy(f => Full(f.Value!)).Where(g => g.Count() > 1))
        {
            yield return $"{string.Join(" and ", same.Select(f => $"{section}:{f.Name}"))} are the same folder '{same.First().Value}'; "
                + "each needs one of its own.";
        }
        if (options.InboxQuiet < TimeSpan.Zero || options.InboxQuiet > TimeSpan.FromHours(1))
        {
            yield return $"{section}:InboxQuiet is {options.InboxQuiet}; allowed is 00:00:00 to 01:00:00.";
        }
        if (options.BatchSize is < 1 or > 10_000)
        {
            yield return $"{section}:BatchSize is {options.BatchSize}; allowed is 1 to 10000.";
        }
    }

    /// <summary>Finds what is wrong with the options of the history's pruning.</summary>
    /// <param name="options">The options in question.</param>
    /// <param name="setting">The key in the configuration that carries <see cref="Maintenance.PruneOptions.KeepRuns"/>.</param>
    public static IEnumerable<string> Validate(Maintenance.PruneOptions options, string setting = "Scheduler:State:KeepRuns")
    {
        ArgumentNullException.ThrowIfNull(options);
        if (options.KeepRuns < TimeSpan.FromMinutes(1) || options.KeepRuns > TimeSpan.FromDays(36_500))
        {
            yield return $"{setting} is {options.KeepRuns}; allowed is 00:01:00 to 36500.00:00:00.";
        }
    }

    private static string? DatabaseProblem(string? connectionString)
    {
        try
        {
            var parts = new DbConnectionStringBuilder { ConnectionString = connectionString };
            if (!parts.TryGetValue("Data Source", out var source) || string.IsNullOrWhiteSpace(source as string))
            {
                return "names no file; write 'Data Source=<path of the database>'.";
            }
            if (parts.ContainsKey("Password"))
            {
                return "has a Password, but SQLite files are not encrypted here; write 'Data Source=<path of the database>'.";
            }
            // The driver's own reading finds the words that it does not know; nothing is opened.
            using (SqliteDatabase.Create(connectionString!)) { }
            return null;
        }
        catch (ArgumentException)
        {
            // The driver's message would repeat the value, and connection strings may carry secrets.
            return "is no connection string (not shown here); write 'Data Source=<path of the database>'.";
        }
    }

    private static bool IsPath(string? value) => !string.IsNullOrWhiteSpace(value) && !value.Contains('\0');

    private static string Full(string path) => Path.TrimEndingDirectorySeparator(Path.GetFullPath(path));
}
