using System.Runtime.InteropServices;

namespace Scheduler.Testing.Servers;

/// <summary>libfaketime, which gives a process another wall clock; its boot and monotonic clocks stay the host's.</summary>
public static class FakeTimeLibrary
{
    private const string FileName = "libfaketimeMT.so.1";

    /// <summary>The variables that load it; one that says which time it is comes on top.</summary>
    /// <exception cref="InvalidOperationException">The library is not installed.</exception>
    public static IReadOnlyDictionary<string, string> Environment =>
        new Dictionary<string, string>(StringComparer.Ordinal)
        {
            ["LD_PRELOAD"] = Find(),
            // Both are needed: with the first alone .NET's waits break and burn the processor.
            ["FAKETIME_DONT_FAKE_MONOTONIC"] = "1",
            ["FAKETIME_FORCE_MONOTONIC_FIX"] = "0",
        };

    private static string Find()
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
