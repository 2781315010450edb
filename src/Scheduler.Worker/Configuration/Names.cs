namespace Scheduler.Worker.Configuration;

/// <summary>Names that people type.</summary>
internal static class Names
{
    public const string Allowed = "1 to 100 of A-Z, a-z, 0-9, '.', '_' and '-'";

    public static bool IsValid(string? name) =>
        name is { Length: > 0 and <= 100 } && name.All(c => char.IsAsciiLetterOrDigit(c) || c is '.' or '_' or '-');

    /// <summary>The names that are nearest to a mistyped one, by edit distance (Levenshtein 1965); all of them when they are few.</summary>
    public static string Near(string typed, IEnumerable<string> known)
    {
        var names = known.Distinct(StringComparer.Ordinal).OrderBy(n => Distance(typed, n)).ThenBy(n => n, StringComparer.Ordinal).ToList();
        return names.Count == 0 ? "there are none" : string.Join(", ", names.Take(5)) + (names.Count > 5 ? ", …" : "");
    }

    private static int Distance(string left, string right)
    {
        var (a, b) = (left.ToUpperInvariant(), right.ToUpperInvariant());
        var row = Enumerable.Range(0, b.Length + 1).ToArray();
        for (var i = 1; i <= a.Length; i++)
        {
            var diagonal = row[0];
            row[0] = i;
            for (var j = 1; j <= b.Length; j++)
            {
                var substituted = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
                diagonal = row[j];
                row[j] = Math.Min(substituted, Math.Min(row[j], row[j - 1]) + 1);
            }
        }
        return row[b.Length];
    }
}
