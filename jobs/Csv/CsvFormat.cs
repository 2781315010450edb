using System.Text;

namespace Payments.Jobs.Csv;

/// <summary>Writes records as RFC 4180 has it. Stateless and thread-safe.</summary>
internal static class CsvFormat
{
    /// <summary>One record with its line end (CR LF). Values are quoted only where they must be.</summary>
    public static string Line(params IReadOnlyList<string> fields)
    {
        var line = new StringBuilder();
        for (var i = 0; i < fields.Count; i++)
        {
            if (i > 0)
            {
                line.Append(',');
            }
            // A record of one empty value would be a blank line, which readers take for no record.
            var quoted = fields[i].AsSpan().ContainsAny("\",\r\n") || (fields.Count == 1 && fields[i].Length == 0);
            line.Append(quoted ? $"\"{fields[i].Replace("\"", "\"\"", StringComparison.Ordinal)}\"" : fields[i]);
        }
        return line.Append("\r\n").ToString();
    }
}
