using System.Globalization;

namespace Scheduler.Runs;

/// <summary>Where a list of skips stands: behind this count, in the order from the newest minute on. Immutable.</summary>
/// <param name="At">The minute, in Unix milliseconds.</param>
/// <param name="Job">The job.</param>
/// <param name="Replica">The replica.</param>
/// <param name="Reason">The reason's name in the tables.</param>
internal sealed record SkipPlace(long At, string Job, string Replica, string Reason);

/// <summary>A query for a page of skips, taken apart alike for all States. Immutable and thread-safe.</summary>
internal sealed record SkipListing
{
    private const int Parts = 4;

    /// <summary>Takes a query apart.</summary>
    /// <exception cref="ArgumentException">Limit or cursor is none of this list.</exception>
    public SkipListing(SkipQuery query)
    {
        ArgumentNullException.ThrowIfNull(query);
        LedgerRules.CheckLimit(query.Limit, 1_000);
        Query = query;
        From = query.From is { } from ? LedgerRules.WholeUp(from) : null;
        SkipPlace? until = query.To is { } to ? new(LedgerRules.WholeUp(to), "", "", "") : null;
        var cursor = query.Cursor is null ? null : Read(query.Cursor);
        Before = until is null || (cursor is not null && cursor.At < until.At) ? cursor : until;
    }

    /// <summary>What was asked for.</summary>
    public SkipQuery Query { get; }

    /// <summary>The earliest minute, in Unix milliseconds.</summary>
    public long? From { get; }

    /// <summary>Only counts behind this one; none for the beginning of all.</summary>
    public SkipPlace? Before { get; }

    /// <summary>The name of a reason in the tables.</summary>
    public static string NameOf(SkipReason reason) => reason.ToString().ToLowerInvariant();

    /// <summary>Makes the page.</summary>
    /// <param name="counts">What was found, one more than the limit if there is more.</param>
    public SkipPage Page(IReadOnlyList<SkipCount> counts)
    {
        if (counts.Count <= Query.Limit)
        {
            return new SkipPage(counts, Next: null);
        }
        var last = counts[Query.Limit - 1];
        string[] place =
        [
            last.Minute.ToUnixTimeMilliseconds().ToString(CultureInfo.InvariantCulture),
            Uri.EscapeDataString(last.Job),
            Uri.EscapeDataString(last.Replica),
            NameOf(last.Reason),
        ];
        return new SkipPage([.. counts.Take(Query.Limit)], string.Join('/', place));
    }

    private static SkipPlace Read(string cursor) =>
        cursor.Split('/') is { Length: Parts } parts && LedgerRules.TryReadTime(parts[0], out var at)
            ? new SkipPlace(at, Uri.UnescapeDataString(parts[1]), Uri.UnescapeDataString(parts[2]), parts[3])
            : throw new ArgumentException("The cursor is none of this list: hand in 'next' of the page before, or none.", nameof(cursor));
}
