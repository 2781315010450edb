using System.Security.Cryptography;
using System.Text;

namespace Scheduler.Runs;

/// <summary>All definitions of triggers that a replica has; equal on all replicas of one configuration. Immutable.</summary>
internal sealed class ScheduleSet
{
    /// <summary>How long a replica's definitions count after its last heartbeat.</summary>
    public static readonly TimeSpan HolderLife = TimeSpan.FromSeconds(6);

    /// <summary>How long before it counts a definition is announced that follows one which a living replica has: all of them look at their
    /// members every two seconds.</summary>
    public static readonly TimeSpan Announcement = TimeSpan.FromSeconds(10);

    /// <summary>How long it is remembered what a replica had that never wrote a heartbeat.</summary>
    public static readonly TimeSpan Kept = TimeSpan.FromDays(1);

    public ScheduleSet(IEnumerable<ScheduleKey> definitions)
    {
        Definitions = [.. definitions.OrderBy(d => d.Job, StringComparer.Ordinal).ThenBy(d => d.Trigger, StringComparer.Ordinal)];
        var text = string.Join('\n', Definitions.Select(d => $"{Escape(d.Job)} {Escape(d.Trigger)} {Escape(d.Fingerprint)}"));
        Id = Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(text)))[..32];
    }

    /// <summary>Identifies the content.</summary>
    public string Id { get; }

    /// <summary>The definitions, in the same order on all replicas.</summary>
    public IReadOnlyList<ScheduleKey> Definitions { get; }

    private static string Escape(string text) => Uri.EscapeDataString(text);
}
