namespace Scheduler.Runs;

/// <summary>A look at the runs that are open, for those who start them.</summary>
/// <param name="DueUntil">What waits for a later time is left out.</param>
/// <param name="Cursor"><see cref="RunPage.Next"/> of the look before; a look without one begins anew.</param>
/// <param name="Limit">How many of those that wait, and how many of the orphaned ones, are looked through at most: 1 to 1,000. Ten times as
/// many running ones are shown.</param>
public sealed record OpenRunsQuery(DateTimeOffset DueUntil, string? Cursor = null, int Limit = 1_000);

/// <summary>
/// A look at the open runs, taken apart alike for all ledgers: three lists, none of which can hide what is in another one. Immutable and
/// thread-safe.
/// </summary>
internal sealed record OpenRunsListing
{
    /// <summary>Takes a query apart.</summary>
    /// <exception cref="ArgumentException">Limit or cursor is none of these lists.</exception>
    public OpenRunsListing(OpenRunsQuery query)
    {
        ArgumentNullException.ThrowIfNull(query);
        LedgerRules.CheckLimit(query.Limit, 1_000);
        DueUntil = query.DueUntil;
        Limit = query.Limit;
        (Claimable, Orphaned) = query.Cursor?.Split('/') switch
        {
            null => (Begin, Begin),
            [var claimable, var orphaned] => (Read(claimable), Read(orphaned)),
            _ => throw new ArgumentException("The cursor is none of this list: hand in 'next' of the look before, or none.", nameof(query)),
        };
    }

    /// <summary>In front of all.</summary>
    public static (long At, string Id) Begin { get; } = (DateTimeOffset.MinValue.ToUnixTimeMilliseconds(), "");

    /// <summary>What waits for a later time is left out.</summary>
    public DateTimeOffset DueUntil { get; }

    /// <summary>How many rows of each list that goes on are read.</summary>
    public int Limit { get; }

    /// <summary>How many running ones are read.</summary>
    public int RunningLimit => Limit * 10;

    /// <summary>Behind which row, by the time since which it is due in Unix milliseconds and id, the list of those goes on that wait or are
    /// interrupted.</summary>
    public (long At, string Id) Claimable { get; }

    /// <summary>The same of the orphaned ones.</summary>
    public (long At, string Id) Orphaned { get; }

    /// <summary>Makes the page.</summary>
    /// <param name="runs">What was found, the running ones first.</param>
    /// <param name="claimable">The rows of that list that were looked through, in order.</param>
    /// <param name="orphaned">The same of the orphaned ones.</param>
    public RunPage Page(
        IReadOnlyList<RunRecord> runs,
        IReadOnlyList<(long At, string Id)> claimable,
        IReadOnlyList<(long At, string Id)> orphaned
    )
    {
        var (one, other) = (Last(claimable), Last(orphaned));
        return new RunPage(runs, one.Length + other.Length == 0 ? null : $"{one}/{other}");
    }

    // A list that is through begins anew.
    private string Last(IReadOnlyList<(long At, string Id)> rows) =>
        rows.Count < Limit ? "" : RunListing.Cursor(DateTimeOffset.FromUnixTimeMilliseconds(rows[^1].At), rows[^1].Id);

    private static (long At, string Id) Read(string part) => part.Length == 0 ? Begin : RunListing.ReadCursor(part);
}
