using Payments.Jobs.Storage;

namespace Payments.Jobs.Importing;

/// <summary>A file of the inbox as it was when looked at.</summary>
internal sealed record InboxFile(string Name, string Path, long Length, DateTime WrittenAtUtc);

/// <summary>The folders of the import: which files are ready, and where they go. Thread-safe.</summary>
internal sealed class Inbox(PaymentsOptions options, TimeProvider time)
{
    private const int MaxSameNames = 10_000;

    private readonly Place _inbox = new("inbox folder", options.Inbox, "Payments:Inbox");
    private readonly Place _done = new("folder of finished files", options.Done, "Payments:Done");
    private readonly Place _rejects = new("rejects folder", options.Rejects, "Payments:Rejects");

    /// <summary>The folder of the rejects.</summary>
    public Place Rejects => _rejects;

    /// <summary>Creates the folders that are missing.</summary>
    /// <exception cref="PaymentsStorageException">One cannot be created.</exception>
    public void EnsureFolders()
    {
        _inbox.EnsureFolder();
        _done.EnsureFolder();
        _rejects.EnsureFolder();
    }

    /// <summary>
    /// Lists the files that are ready, by name. Left alone are hidden files, other endings than <c>.csv</c> (so <c>.tmp</c>, <c>.part</c>)
    /// and files written to within <see cref="PaymentsOptions.InboxQuiet"/>, which somebody may still be writing.
    /// </summary>
    public IReadOnlyList<InboxFile> Ready() =>
        _inbox.Guard(() =>
        {
            var now = time.GetUtcNow().UtcDateTime;
            return new DirectoryInfo(options.Inbox)
                .EnumerateFiles()
                .Where(f => f.Extension.Equals(".csv", StringComparison.OrdinalIgnoreCase) && !f.Name.StartsWith('.'))
                .Where(f => (now - f.LastWriteTimeUtc).Duration() >= options.InboxQuiet)
                .Select(f => new InboxFile(f.Name, f.FullName, f.Length, f.LastWriteTimeUtc))
                .OrderBy(f => f.Name, StringComparer.Ordinal)
                .ToList();
        });

    /// <summary>Whether the file still is what it was when it was listed; not when it grew, was replaced or is gone.</summary>
    public static bool IsUnchanged(InboxFile file)
    {
        var now = new FileInfo(file.Path);
        return now.Exists && now.Length == file.Length && now.LastWriteTimeUtc == file.WrittenAtUtc;
    }

    /// <summary>Opens a file for reading; the writer and a mover are not kept out.</summary>
    /// <returns>The stream, or <see langword="null"/> when the file is gone.</returns>
    public static FileStream? Open(InboxFile file) =>
        new Place("file", file.Path, "Payments:Inbox").Guard(() =>
        {
            try
            {
                return new FileStream(
                    file.Path,
                    FileMode.Open,
                    FileAccess.Read,
                    FileShare.ReadWrite | FileShare.Delete,
                    bufferSize: 64 * 1024
                );
            }
            catch (FileNotFoundException)
            {
                return null;
            }
        });

    /// <summary>A path in the folder of finished files, or of rejects, that no file has yet: <c>a.csv</c>, <c>a.2.csv</c>, …</summary>
    public string FreePath(string name, bool isRejected)
    {
        var place = isRejected ? _rejects : _done;
        var stem = Path.GetFileNameWithoutExtension(name);
        return place.Guard(() =>
            Enumerable
                .Range(1, MaxSameNames)
                .Select(n => Path.Combine(place.Path, n == 1 ? name : $"{stem}.{n}{Path.GetExtension(name)}"))
                .FirstOrDefault(path => !File.Exists(path))
            ?? throw new IOException($"it has {MaxSameNames} files named like '{name}'; archive them")
        );
    }

    /// <summary>Moves a file out of the inbox.</summary>
    /// <returns>Whether it was still there: a former holder of the lock may have moved it.</returns>
    public bool Move(InboxFile file, string target, bool isRejected) =>
        (isRejected ? _rejects : _done).Guard(() =>
        {
            try
            {
                File.Move(file.Path, target, overwrite: false);
                return true;
            }
            catch (FileNotFoundException)
            {
                return false;
            }
        });
}
