using System.Text;

namespace Payments.Jobs.Csv;

/// <summary>Puts the fields of one record together from its lines: the grammar of RFC 4180, read strictly. Not thread-safe.</summary>
internal sealed class CsvRecordParser
{
    private readonly List<string> _fields = [];
    private readonly StringBuilder _field = new();
    private State _state = State.FieldStart;

    private enum State
    {
        FieldStart,
        Unquoted,
        Quoted,
        AfterQuote,
    }

    /// <summary>The values so far; all of the record after <see cref="Feed"/> answered <see cref="CsvProgress.Complete"/>.</summary>
    public IReadOnlyList<string> Fields => _fields;

    /// <summary>What is wrong after <see cref="CsvProgress.Malformed"/>.</summary>
    public string? Problem { get; private set; }

    /// <summary>Takes the next line, with its line end.</summary>
    public CsvProgress Feed(string line)
    {
        // Inside quotes the line end belongs to the value; a closing quote may come anywhere on the line.
        var content = CsvLines.ContentLength(line);
        for (var i = 0; i < line.Length && (_state == State.Quoted || i < content); i++)
        {
            if (!Take(line[i], i + 1))
            {
                return CsvProgress.Malformed;
            }
        }
        if (_state == State.Quoted)
        {
            return CsvProgress.NeedsMore;
        }
        EndField();
        return CsvProgress.Complete;
    }

    private bool Take(char c, int column)
    {
        switch (_state, c)
        {
            case (State.Quoted, '"'):
                _state = State.AfterQuote;
                return true;
            case (State.Quoted, _):
                _field.Append(c);
                return true;
            case (State.AfterQuote, '"'):
                _field.Append('"');
                _state = State.Quoted;
                return true;
            case (_, ','):
                EndField();
                return true;
            case (State.AfterQuote, _):
                return Fail($"text follows a closing quote at character {column}; double a quote that is part of the value");
            case (State.FieldStart, '"'):
                _state = State.Quoted;
                return true;
            case (_, '"'):
                return Fail($"a quote stands inside an unquoted value at character {column}; quote the whole value and double the quote");
            case (_, '\r' or '\n'):
                return Fail($"a lone carriage return stands at character {column}");
            default:
                _field.Append(c);
                _state = State.Unquoted;
                return true;
        }
    }

    private void EndField()
    {
        _fields.Add(_field.ToString());
        _field.Clear();
        _state = State.FieldStart;
    }

    private bool Fail(string problem)
    {
        Problem = problem;
        return false;
    }
}

/// <summary>Where the parser of a record stands after a line.</summary>
internal enum CsvProgress
{
    /// <summary>The record ended with the line.</summary>
    Complete,

    /// <summary>A quoted value goes on in the next line.</summary>
    NeedsMore,

    /// <summary>The lines are no record.</summary>
    Malformed,
}
