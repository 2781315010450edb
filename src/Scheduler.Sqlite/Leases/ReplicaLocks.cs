using Scheduler.Sqlite.Files;

namespace Scheduler.Sqlite.Leases;

/// <summary>
/// The lock files that say which replicas live: each holds its own by flock(2) for as long as its process lasts. Take, leave, and
/// clean up only while holding the database's writer lock. Thread-safe.
/// </summary>
/// <remarks>
/// Only a file that exists and is not locked proves a death. A missing one proves nothing (somebody may have deleted it), so the
/// leases of its replica then last until their time; whoever removes a file removes the leases of its replica first.
/// </remarks>
internal sealed class ReplicaLocks(string folder)
{
    // Of the whole process: two stores with one replica share a lock, because flock would make the second wait for the first.
    private static readonly Lock Gate = new();
    private static readonly Dictionary<string, Shared> Ours = new(StringComparer.Ordinal);

    /// <summary>Shows this replica as living.</summary>
    /// <returns>Whether it is; <see langword="false"/> when another process has the same replica id.</returns>
    public bool Take(string replica)
    {
        var path = PathOf(replica);
        lock (Gate)
        {
            if (Ours.TryGetValue(path, out var shared))
            {
                shared.Users++;
                return true;
            }
            Directory.CreateDirectory(folder);
            var file = FileLock.Open(path);
            if (!file.TryLock())
            {
                file.Dispose();
                return false;
            }
            Ours.Add(path, new Shared(file) { Users = 1 });
            return true;
        }
    }

    /// <summary>Ends one use of this replica's lock.</summary>
    /// <param name="replica">The replica.</param>
    /// <param name="keep">Leave the file locked until the process ends, because leases are left.</param>
    public void Leave(string replica, bool keep)
    {
        var path = PathOf(replica);
        lock (Gate)
        {
            var shared = Ours[path];
            shared.Users--;
            shared.Kept |= keep;
            if (shared.Users > 0 || shared.Kept)
            {
                return;
            }
            Ours.Remove(path);
            File.Delete(path);
            shared.File.Dispose();
        }
    }

    /// <summary>Whether the replica's process is known to be gone.</summary>
    public bool IsDead(string replica)
    {
        if (replica.Contains('/', StringComparison.Ordinal))
        {
            return false;
        }
        var path = PathOf(replica);
        lock (Gate)
        {
            if (Ours.ContainsKey(path))
            {
                return false;
            }
        }
        return FileLock.Probe(path) == FileLockState.Free;
    }

    /// <summary>The replicas whose processes are gone and whose files are still here; at most <paramref name="limit"/>.</summary>
    public IReadOnlyList<string> FindDead(int limit) =>
        Directory.Exists(folder) ? [.. Directory.EnumerateFiles(folder, "*" + Suffix).Select(ReplicaOf).Where(IsDead).Take(limit)] : [];

    /// <summary>Removes the file of a dead replica, after its leases.</summary>
    public void Remove(string replica) => File.Delete(PathOf(replica));

    private const string Suffix = ".lock";

    private string PathOf(string replica) => Path.Combine(folder, replica + Suffix);

    private static string ReplicaOf(string path) => Path.GetFileName(path)[..^Suffix.Length];

    private sealed class Shared(FileLock file)
    {
        public FileLock File { get; } = file;

        public int Users { get; set; }

        public bool Kept { get; set; }
    }
}
