using System.Runtime.InteropServices;
using System.Text;
using System.Text.RegularExpressions;

namespace Scheduler.Sqlite.Files;

/// <summary>Decides whether a file lies on a file system of this host, where locks of files hold. Thread-safe.</summary>
internal static partial class FileSystemRules
{
    /// <summary>Where the kernel says what is mounted.</summary>
    public const string MountInfo = "/proc/self/mountinfo";

    private const int LongestPath = 4096;

    // File locks and shared memory maps of these are emulated, cached or left out, and other hosts may have them mounted as well.
    private static readonly HashSet<string> Refused = new(StringComparer.OrdinalIgnoreCase)
    {
        "9p",
        "acfs",
        "afs",
        "beegfs",
        "ceph",
        "cifs",
        "coda",
        "gfs",
        "gfs2",
        "glusterfs",
        "gpfs",
        "lustre",
        "ncpfs",
        "nfs",
        "nfs4",
        "ocfs2",
        "orangefs",
        "panfs",
        "prl_fs",
        "pvfs2",
        "smb",
        "smb2",
        "smb3",
        "smbfs",
        "vboxsf",
        "virtiofs",
        "vmhgfs",
        "wekafs",
    };

    /// <summary>Says why a database must not be kept at a place, which need not exist yet. Follows symbolic links.</summary>
    /// <param name="path">The absolute path of the database.</param>
    /// <param name="mountInfoFile">Where to read what is mounted; another one in tests.</param>
    /// <returns>The type of the file system and where it is mounted, or <see langword="null"/> when it may be used.</returns>
    /// <exception cref="IOException">What is mounted cannot be read: not met on Linux, and elsewhere nothing of this works.</exception>
    public static (string Type, string MountPoint)? FindRefused(string path, string? mountInfoFile = null)
    {
        var existing = path;
        while (!Path.Exists(existing) && Path.GetDirectoryName(existing) is { } parent)
        {
            existing = parent;
        }
        return FindRefusedIn(File.ReadAllText(mountInfoFile ?? MountInfo), Resolve(existing));
    }

    /// <summary>Says why lock files must not be kept in a folder.</summary>
    /// <param name="mountInfo">The text of <c>/proc/self/mountinfo</c> (proc(5)).</param>
    /// <param name="folder">The absolute path of the folder, symbolic links resolved.</param>
    /// <returns>The type of the file system and where it is mounted, or <see langword="null"/> when it may be used.</returns>
    public static (string Type, string MountPoint)? FindRefusedIn(string mountInfo, string folder) =>
        Find(mountInfo, folder) is { } found && IsRefused(found.Type) ? found : null;

    /// <summary>Finds what is mounted where a folder is.</summary>
    public static (string Type, string MountPoint)? Find(string mountInfo, string folder)
    {
        (string Type, string MountPoint)? best = null;
        foreach (var line in mountInfo.Split('\n', StringSplitOptions.RemoveEmptyEntries))
        {
            // 36 35 98:0 /root /mnt rw,noatime master:1 - ext3 /dev/root rw,errors=continue
            var halves = line.Split(" - ", 2);
            var left = halves[0].Split(' ');
            if (halves.Length < 2 || left.Length < 5)
            {
                continue;
            }
            var mountPoint = Unescape(left[4]);
            // Of two mounts on one place the later one is seen.
            if (Contains(mountPoint, folder) && (best is null || mountPoint.Length >= best.Value.MountPoint.Length))
            {
                best = (halves[1].Split(' ')[0], mountPoint);
            }
        }
        return best;
    }

    private static string Resolve(string path)
    {
        Span<byte> buffer = stackalloc byte[LongestPath];
        return RealPath(path, ref MemoryMarshal.GetReference(buffer)) == 0
            ? path
            : Encoding.UTF8.GetString(buffer[..buffer.IndexOf((byte)0)]);
    }

    private static bool IsRefused(string type) => Refused.Contains(type) || type.StartsWith("fuse", StringComparison.OrdinalIgnoreCase);

    private static bool Contains(string mountPoint, string folder) =>
        mountPoint == "/"
        || folder == mountPoint
        || (folder.StartsWith(mountPoint, StringComparison.Ordinal) && folder[mountPoint.Length] == '/');

    private static string Unescape(string text) =>
        Octal().Replace(text, match => ((char)Convert.ToInt32(match.Groups["code"].Value, 8)).ToString());

    [GeneratedRegex(@"\\(?<code>[0-7]{3})", RegexOptions.ExplicitCapture | RegexOptions.CultureInvariant, matchTimeoutMilliseconds: 1000)]
    private static partial Regex Octal();

    [LibraryImport("libc", EntryPoint = "realpath", StringMarshalling = StringMarshalling.Utf8)]
    [DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
    private static partial nint RealPath(string path, ref byte resolved);
}
