using System.Diagnostics;
using Scheduler.Testing;

namespace Scheduler.Tests.Sqlite;

/// <summary>Which threads wait for a flock, as the kernel shows it (proc_locks(5): lines with an arrow).</summary>
internal static class LockWaiters
{
    /// <summary>Waits until so many wait for the lock on a file.</summary>
    public static async Task BecomeAsync(string file, int count)
    {
        var inode = await InodeAsync(file);
        await Eventually.Holds(() => Count(inode) == count);
    }

    /// <summary>How many wait now.</summary>
    public static async Task<int> CountAsync(string file) => Count(await InodeAsync(file));

    // 3: -> FLOCK  ADVISORY  WRITE 9471 fe:00:5335049 0 EOF
    private static int Count(string inode) =>
        File.ReadLines("/proc/locks")
            .Count(l => l.Contains("-> FLOCK", StringComparison.Ordinal) && l.Contains($":{inode} ", StringComparison.Ordinal));

    private static async Task<string> InodeAsync(string file)
    {
        using var stat = Process.Start(
            new ProcessStartInfo("stat", ["-c", "%i", file]) { UseShellExecute = false, RedirectStandardOutput = true }
        )!;
        var line = await stat.StandardOutput.ReadToEndAsync();
        await stat.WaitForExitAsync();
        Assert.Equal(0, stat.ExitCode);
        return line.Trim();
    }
}
