using System.Globalization;
using System.Text;
using Payments.Jobs.Csv;

namespace Payments.Jobs.Importing;

/// <summary>A line that could not be taken.</summary>
/// <param name="File">The file's name.</param>
/// <param name="Line">The line's number, from 1.</param>
/// <param name="Reason">Why.</param>
/// <param name="Raw">The line as it stands in the file.</param>
internal sealed record Reject(string File, long Line, string Reason, string Raw);

/// <summary>
/// The list of a file's rejected lines, for the people who send it. Written beside its final name and renamed at the end, so that what
/// has the final name is whole; made only when there is a line to list. Not thread-safe.
/// </summary>
internal sealed class RejectsFile(string folder, string name) : IAsyncDisposable
{
    private readonly string _temporary = Path.Combine(folder, $".{name}.tmp");
    private FileStream? _stream;

    /// <summary>Adds lines.</summary>
    public async ValueTask AddAsync(IReadOnlyList<Reject> rejects, CancellationToken cancellationToken)
    {
        if (rejects.Count == 0)
        {
            return;
        }
        var text = new StringBuilder();
        if (_stream is null)
        {
            _stream = new FileStream(_temporary, FileMode.Create, FileAccess.Write, FileShare.Read);
            text.Append(CsvFormat.Line("file", "line", "reason", "raw"));
        }
        foreach (var reject in rejects)
        {
            text.Append(CsvFormat.Line(reject.File, reject.Line.ToString(CultureInfo.InvariantCulture), reject.Reason, reject.Raw));
        }
        await _stream.WriteAsync(Encoding.UTF8.GetBytes(text.ToString()), cancellationToken);
    }

    /// <summary>Gives the list its final name.</summary>
    /// <param name="finalName">The name in the folder; a list of that name is replaced.</param>
    /// <returns>Where it is, or <see langword="null"/> when no line was rejected.</returns>
    public async ValueTask<string?> PublishAsync(string finalName)
    {
        if (_stream is null)
        {
            return null;
        }
        _stream.Flush(flushToDisk: true);
        await _stream.DisposeAsync();
        _stream = null;
        var path = Path.Combine(folder, finalName);
        File.Move(_temporary, path, overwrite: true);
        return path;
    }

    /// <summary>Drops a list that was not published.</summary>
    public async ValueTask DisposeAsync()
    {
        if (_stream is not null)
        {
            await _stream.DisposeAsync();
            File.Delete(_temporary);
        }
    }
}
