namespace Scheduler.Jobs;

/// <summary>Which missed occurrences of a job are made up for. Immutable, pure.</summary>
/// <param name="Policy">Which of them.</param>
/// <param name="Within">How late they may be; <see langword="null"/>: one period, and with <see cref="CatchUp.All"/> without a
/// bound.</param>
/// <param name="Limit">How many of a trigger at most, the newest ones.</param>
internal sealed record CatchUpRule(CatchUp Policy, TimeSpan? Within, int Limit)
{
    /// <summary>How many missed occurrences of a trigger are run where nothing is said.</summary>
    public const int DefaultLimit = 1_000;

    /// <summary>The largest <see cref="Limit"/>.</summary>
    public const int LargestLimit = 10_000;

    /// <summary>The longest <see cref="Within"/>; the shortest is <see cref="FireReader.LatestFire"/>.</summary>
    public static readonly TimeSpan LongestWithin = TimeSpan.FromDays(366);

    /// <summary>What holds for a job that says nothing.</summary>
    public static CatchUpRule Default { get; } = new(CatchUp.Latest, null, DefaultLimit);

    /// <summary>Whether an occurrence without a row is to be run.</summary>
    /// <param name="late">How long ago it was due.</param>
    /// <param name="period">The time from it to the next one, if there is one.</param>
    /// <param name="isLatest">Whether none that was due later is recorded or missing.</param>
    public bool Runs(TimeSpan late, TimeSpan? period, bool isLatest) =>
        // As late as a fire of its own may be: it was not missed yet.
        late <= FireReader.LatestFire
        || Policy switch
        {
            CatchUp.All => late <= (Within ?? TimeSpan.MaxValue),
            CatchUp.Latest => isLatest && late <= (Within ?? period ?? TimeSpan.MaxValue),
            _ => false,
        };

    /// <summary>As the log says it.</summary>
    public override string ToString() =>
        Policy switch
        {
            CatchUp.All => Within is { } bound ? $"All within {bound:c}" : "All",
            CatchUp.Latest => Within is { } bound ? $"Latest within {bound:c}" : "Latest within one period",
            _ => "None",
        };
}
