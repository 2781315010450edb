using Scheduler.Runs;

namespace Scheduler.Auditing;

/// <summary>What every audit trail does alike, whatever keeps its rows. Stateless and thread-safe.</summary>
internal static class AuditRules
{
    private const int LongestText = 2_000;

    /// <summary>The entry as it is kept: no longer than its bounds, and without control characters, which not every State keeps.</summary>
    public static AuditEntry Kept(AuditEntry entry)
    {
        ArgumentNullException.ThrowIfNull(entry);
        return entry with
        {
            Who = Text(entry.Who, 200)!,
            Action = Text(entry.Action, 100)!,
            Target = Text(entry.Target, 500)!,
            Parameters = Text(entry.Parameters, LongestText),
            Detail = Detail(entry.Detail),
        };
    }

    /// <summary>A detail as it is kept.</summary>
    public static string? Detail(string? detail) => Text(detail, LongestText);

    /// <summary>Reads an id of an entry.</summary>
    /// <exception cref="ArgumentException">It is none.</exception>
    public static Guid IdOf(string id) =>
        Guid.TryParseExact(id, "N", out var parsed)
            ? parsed
            : throw new ArgumentException("The cursor is none of this list: hand in 'next' of the page before, or none.", nameof(id));

    /// <summary>Makes the page of one entry more than the limit, if there is more.</summary>
    public static AuditPage Page(IReadOnlyList<AuditEntry> entries, int limit) =>
        entries.Count > limit ? new AuditPage([.. entries.Take(limit)], entries[limit - 1].Id) : new AuditPage(entries, null);

    private static string? Text(string? text, int longest) =>
        LedgerRules.Cut(
            text is null || !text.Any(char.IsControl) ? text : string.Concat(text.Select(c => char.IsControl(c) ? ' ' : c)),
            longest
        );
}
