using System.Globalization;

namespace Scheduler.Testing.Servers;

/// <summary>The wall clock of server processes, which a test steps while they run; their monotonic clocks stay the host's.</summary>
public sealed class SteppedClock : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("scheduler-clock-").FullName;

    /// <summary>Makes one that is right.</summary>
    public SteppedClock()
    {
        if (!OperatingSystem.IsWindows())
        {
            // A server that refuses to run as root reads it, too.
            File.SetUnixFileMode(_folder, File.GetUnixFileMode(_folder) | UnixFileMode.OtherRead | UnixFileMode.OtherExecute);
        }
        Set(TimeSpan.Zero);
    }

    /// <summary>The variables that give a process this clock.</summary>
    /// <exception cref="InvalidOperationException">libfaketime is not installed.</exception>
    public IReadOnlyDictionary<string, string> Environment =>
        new Dictionary<string, string>(FakeTimeLibrary.Environment, StringComparer.Ordinal)
        {
            // The allocator of Debian's redis-server asks for the time before libfaketime is ready; libc's does not.
            ["LD_PRELOAD"] = $"{FakeTimeLibrary.Environment["LD_PRELOAD"]}:libc.so.6",
            ["FAKETIME_TIMESTAMP_FILE"] = Path.Combine(_folder, "offset"),
            ["FAKETIME_NO_CACHE"] = "1",
        };

    /// <summary>Steps the clock to an offset from the host's.</summary>
    public void Set(TimeSpan offset)
    {
        var next = Path.Combine(_folder, "next");
        File.WriteAllText(next, offset.TotalSeconds.ToString("+0.000;-0.000;+0", CultureInfo.InvariantCulture));
        // At once, so that nobody reads half a file.
        File.Move(next, Path.Combine(_folder, "offset"), overwrite: true);
    }

    public void Dispose() => Directory.Delete(_folder, recursive: true);
}
