using System.Text;

namespace Payments.Jobs.Csv;

/// <summary>Reads a text line by line, keeping each line's end, in bounded memory. Not thread-safe.</summary>
/// <param name="text">The text; stays the caller's.</param>
/// <param name="maxLength">The longest line that is kept, in characters; of a longer one the rest is skipped.</param>
internal sealed class CsvLines(TextReader text, int maxLength)
{
    private readonly char[] _buffer = new char[8192];
    private readonly StringBuilder _line = new();
    private int _position;
    private int _filled;

    /// <summary>Reads the next line, ended by LF or by the end of the text.</summary>
    /// <returns>The line with its end and whether it was cut; <see langword="null"/> at the end.</returns>
    public async ValueTask<(string Text, bool IsCut)?> ReadAsync(CancellationToken cancellationToken)
    {
        _line.Clear();
        var cut = false;
        while (true)
        {
            if (_position == _filled)
            {
                _position = 0;
                _filled = await text.ReadAsync(_buffer.AsMemory(), cancellationToken);
                if (_filled == 0)
                {
                    return _line.Length == 0 ? null : (_line.ToString(), cut);
                }
            }
            var rest = _buffer.AsSpan(_position, _filled - _position);
            var newline = rest.IndexOf('\n');
            var piece = newline < 0 ? rest : rest[..(newline + 1)];
            var room = maxLength - _line.Length;
            cut |= piece.Length > room;
            _line.Append(piece[..Math.Min(piece.Length, room)]);
            _position += piece.Length;
            if (newline >= 0)
            {
                return (_line.ToString(), cut);
            }
        }
    }

    /// <summary>The length of a line without its end (LF or CR LF).</summary>
    public static int ContentLength(string line)
    {
        if (!line.EndsWith('\n'))
        {
            return line.Length;
        }
        return line.Length > 1 && line[^2] == '\r' ? line.Length - 2 : line.Length - 1;
    }
}
