using System.Globalization;
using System.Reflection;

namespace Scheduler.Runs;

/// <summary>A step of a State's schema. Immutable and thread-safe.</summary>
/// <param name="Version">The schema version that it leads to.</param>
/// <param name="MinReader">The oldest build's version that can work with the result.</param>
/// <param name="Sql">What it executes.</param>
internal sealed record Migration(int Version, int MinReader, string Sql)
{
    private const string MinReaderMark = "-- min_reader:";

    /// <summary>
    /// Reads the embedded files <c>NNNN_name.sql</c> of a State, in the order of their versions; the first line of each names the oldest
    /// build that can read its result.
    /// </summary>
    /// <param name="assembly">Where they are embedded.</param>
    /// <param name="prefix">What their names begin with, up to the number.</param>
    public static List<Migration> Load(Assembly assembly, string prefix) =>
        [
            .. assembly
                .GetManifestResourceNames()
                .Where(name => name.StartsWith(prefix, StringComparison.Ordinal))
                .Order(StringComparer.Ordinal)
                .Select(name => Read(assembly, name, int.Parse(name.AsSpan(prefix.Length, 4), CultureInfo.InvariantCulture))),
        ];

    private static Migration Read(Assembly assembly, string name, int version)
    {
        using var stream = assembly.GetManifestResourceStream(name)!;
        using var reader = new StreamReader(stream);
        var sql = reader.ReadToEnd();
        var firstLine = sql[..sql.IndexOf('\n', StringComparison.Ordinal)];
        return new Migration(version, int.Parse(firstLine.AsSpan(MinReaderMark.Length), CultureInfo.InvariantCulture), sql);
    }
}
