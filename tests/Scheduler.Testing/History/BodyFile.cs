using System.Text;

namespace Scheduler.Testing.History;

/// <summary>The file that the bodies of a group write to. Each look reads only what was added. Thread-safe.</summary>
/// <param name="path">Where it is; a file that is not there yet has no lines.</param>
public sealed class BodyFile(string path)
{
    private readonly Lock _gate = new();
    private BodyRecord[] _records = [];
    private long _read;

    /// <summary>Where it is.</summary>
    public string Path => path;

    /// <summary>What bodies have written so far.</summary>
    /// <exception cref="FormatException">A line that is complete cannot be read.</exception>
    public IReadOnlyList<BodyRecord> Records
    {
        get
        {
            lock (_gate)
            {
                if (!File.Exists(path))
                {
                    return _records;
                }
                using var stream = new FileStream(path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite | FileShare.Delete);
                stream.Position = _read;
                var added = new byte[stream.Length - _read];
                stream.ReadExactly(added);
                // What follows the last line end is being written now.
                var complete = Array.LastIndexOf(added, (byte)'\n') + 1;
                if (complete > 0)
                {
                    _records = [.. _records, .. Encoding.UTF8.GetString(added, 0, complete).Split('\n')[..^1].Select(BodyRecord.Parse)];
                    _read += complete;
                }
                return _records;
            }
        }
    }
}
