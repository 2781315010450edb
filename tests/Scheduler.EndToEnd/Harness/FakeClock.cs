using System.Globalization;
using System.Runtime.InteropServices;

namespace Scheduler.EndToEnd.Harness;

/// <summary>Gives a process a wall clock that is off, with libfaketime; its boot and monotonic clocks stay the host's.</summary>
internal static class FakeClock
{
    private const string FileName = "libfaketimeMT.so.1";

    /// <summary>The variables that do it.</summary>
    /// <exception cref="InvalidOperationException">The library is not installed.</exception>
    public static IEnumerable<KeyValuePair<string, string>> Environment(TimeSpan offset)
    {
        if (offset == TimeSpan.Zero)
        {
            return [];
        }
        return
        [
            new("LD_PRELOAD", Library()),
            new("FAKETIME", offset.TotalSeconds.ToString("+0.000;-0.000", CultureInfo.InvariantCulture)),
            // Both are needed: with the first alone .NET's waits break and burn the processor.
            new("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
            new("FAKETIME_FORCE_MONOTONIC_FIX", "0"),
        ];
    }

    private static string Library()
    {
        string[] roots = ["/usr/lib", "/usr/lib64", "/usr/local/lib", "/lib"];
        var machine = RuntimeInformation.ProcessArchitecture switch
        {
            Architecture.X64 => "x86_64-linux-gnu",
            Architecture.Arm64 => "aarch64-linux-gnu",
            _ => "",
        };
        return roots
                .SelectMany(root => new[] { Path.Combine(root, machine, "faketime", FileName), Path.Combine(root, "faketime", FileName) })
                .FirstOrDefault(File.Exists)
            ?? throw new InvalidOperationException(
                $"This test needs {FileName}, which was found nowhere under {string.Join(", ", roots)}. Install it with: "
                    + "sudo apt-get install -y faketime"
            );
    }
}
