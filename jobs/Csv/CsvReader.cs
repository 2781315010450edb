namespace Payments.Jobs.Csv;

/// <summary>
/// Reads CSV strictly as RFC 4180 has it (LF alone is taken as a line end too), as a stream in bounded memory. Not thread-safe.
/// </summary>
/// <remarks>
/// A malformed record costs its first line only: reading goes on with the line after it, so that one forgotten quote does not swallow
/// the good lines behind it.
/// </remarks>
/// <param name="text">The text; stays the caller's.</param>
internal sealed class CsvReader(TextReader text)
{
    /// <summary>The longest record, in characters with its line ends.</summary>
    public const int MaxRecordLength = 16 * 1024;

    private readonly CsvLines _lines = new(text, MaxRecordLength + 1);

    // Lines that were read ahead for a record that turned out to be malformed; together at most one record long.
    private LinkedList<(string Text, bool IsCut)> _ahead = [];
    private long _nextLine = 1;

    /// <summary>Reads the next record.</summary>
    /// <returns>The record or the malformed line; <see langword="null"/> at the end of the text.</returns>
    public async ValueTask<CsvRecord?> ReadAsync(CancellationToken cancellationToken)
    {
        if (await NextAsync(cancellationToken) is not { } first)
        {
            return null;
        }
        var parser = new CsvRecordParser();
        var more = new LinkedList<(string Text, bool IsCut)>();
        var length = 0;
        var line = first;
        string problem;
        while (true)
        {
            length += line.Text.Length;
            if (line.IsCut || length > MaxRecordLength)
            {
                problem =
                    more.Count == 0
                        ? $"the line is longer than {MaxRecordLength} characters"
                        : $"a quoted value is not closed within {MaxRecordLength} characters";
                break;
            }
            var progress = parser.Feed(line.Text);
            if (progress == CsvProgress.Complete)
            {
                var raw = string.Concat(more.Select(m => m.Text).Prepend(first.Text));
                var record = new CsvRecord(_nextLine, parser.Fields, Problem: null, raw[..CsvLines.ContentLength(raw)]);
                _nextLine += 1 + more.Count;
                return record;
            }
            if (progress == CsvProgress.Malformed)
            {
                problem = parser.Problem!;
                break;
            }
            if (await NextAsync(cancellationToken) is not { } next)
            {
                problem = "a quoted value is not closed before the end of the file";
                break;
            }
            more.AddLast(next);
            line = next;
        }
        return Malformed(first.Text, more, problem);
    }

    private CsvRecord Malformed(string first, LinkedList<(string Text, bool IsCut)> more, string problem)
    {
        foreach (var line in _ahead)
        {
            more.AddLast(line);
        }
        _ahead = more;
        return new CsvRecord(_nextLine++, Fields: null, problem, first[..CsvLines.ContentLength(first)]);
    }

    private async ValueTask<(string Text, bool IsCut)?> NextAsync(CancellationToken cancellationToken)
    {
        if (_ahead.First is not { } node)
        {
            return await _lines.ReadAsync(cancellationToken);
        }
        _ahead.RemoveFirst();
        return node.Value;
    }
}
