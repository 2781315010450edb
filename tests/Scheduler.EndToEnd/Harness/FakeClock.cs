using System.Globalization;
using Scheduler.Testing.Servers;

namespace Scheduler.EndToEnd.Harness;

/// <summary>Gives a process a wall clock that is off, with libfaketime; its boot and monotonic clocks stay the host's.</summary>
internal static class FakeClock
{
    /// <summary>The variables that do it.</summary>
    /// <exception cref="InvalidOperationException">The library is not installed.</exception>
    public static IEnumerable<KeyValuePair<string, string>> Environment(TimeSpan offset) =>
        offset == TimeSpan.Zero
            ? []
            :
            [
                .. FakeTimeLibrary.Environment,
                new("FAKETIME", offset.TotalSeconds.ToString("+0.000;-0.000", CultureInfo.InvariantCulture)),
            ];
}
