using Scheduler.Runs;

namespace Scheduler.Jobs.Reconciliation;

/// <summary>What is to be done about a trigger's due occurrences. Pure.</summary>
/// <param name="SettledUntil">Everything due up to here has a row, or gets one by <paramref name="Overlapped"/>.</param>
/// <param name="Overlapped">To be recorded as overlapped.</param>
/// <param name="Missing">To be run, oldest first.</param>
internal sealed record Settlement(
    DateTimeOffset? SettledUntil,
    IReadOnlyList<DateTimeOffset> Overlapped,
    IReadOnlyList<DateTimeOffset> Missing
)
{
    /// <summary>Judges due occurrences against the rows of the ledger.</summary>
    /// <param name="due">The due times, in order.</param>
    /// <param name="rows">The rows in their range, and earlier ones that ran in it.</param>
    /// <param name="before">The newest row before the range that is not overlapped.</param>
    /// <param name="next">The due time after the last of them, if there is one.</param>
    /// <remarks>
    /// An occurrence without a row came to nothing either because the one before it of the same trigger still ran (overlapped), or
    /// because nobody was there to fire it (missing). "The one before it" is the last that ran: with missing ones in between, which
    /// run later, it is not before it any more. But whichever run of the trigger lasts a whole period or longer overlaps what comes due
    /// meanwhile all the same, as it would if nothing had been missed: otherwise one missed occurrence of a job that is slower than its
    /// schedule would begin a backlog that never ends. While the one before it runs, nothing can be said yet.
    /// </remarks>
    public static Settlement Of(
        IReadOnlyList<DateTimeOffset> due,
        IReadOnlyList<RecordedOccurrence> rows,
        RecordedOccurrence? before,
        DateTimeOffset? next
    )
    {
        var byTime = rows.ToDictionary(r => r.Run.ScheduledAt);
        var overlapped = new List<DateTimeOffset>();
        var missing = new List<DateTimeOffset>();
        DateTimeOffset? settled = null;
        var last = before;
        var gap = false;
        for (var i = 0; i < due.Count; i++)
        {
            var time = due[i];
            if (byTime.TryGetValue(time, out var row))
            {
                if (row.Run.State != RunState.Overlapped)
                {
                    (last, gap) = (row, false);
                }
            }
            else if (!gap && last is not null && Runs(last, time))
            {
                break;
            }
            else if (!gap && last is not null && Ran(last, time))
            {
                overlapped.Add(time);
            }
            else if (Period(due, i, next) is { } period && rows.Any(r => Outlasts(r, time, period)))
            {
                overlapped.Add(time);
            }
            else
            {
                missing.Add(time);
                gap = true;
            }
            if (missing.Count == 0)
            {
                settled = time;
            }
        }
        return new Settlement(settled, overlapped, missing);
    }

    /// <summary>
    /// Whether an occurrence is missing for sure: it has no row, and no run of its trigger that is known was going on when it came due.
    /// What is not sure, this says no to, and <see cref="Of"/> decides.
    /// </summary>
    /// <param name="time">When it was due.</param>
    /// <param name="range">What is recorded around that time.</param>
    public static bool IsSurelyMissing(DateTimeOffset time, RecordedRange range)
    {
        ArgumentNullException.ThrowIfNull(range);
        return range.Rows.All(r => r.Run.ScheduledAt != time && IsApart(r, time)) && (range.Before is null || IsApart(range.Before, time));
    }

    private static bool IsApart(RecordedOccurrence occurrence, DateTimeOffset time) => !Ran(occurrence, time) && !Runs(occurrence, time);

    private static TimeSpan? Period(IReadOnlyList<DateTimeOffset> due, int i, DateTimeOffset? next) =>
        i + 1 < due.Count ? due[i + 1] - due[i]
        : next is { } after ? after - due[i]
        : i > 0 ? due[i] - due[i - 1]
        : null;

    private static bool Ran(RecordedOccurrence occurrence, DateTimeOffset time) =>
        occurrence.Attempts.Any(a => a.StartedAt <= time && a.EndedAt >= time);

    private static bool Outlasts(RecordedOccurrence occurrence, DateTimeOffset time, TimeSpan period) =>
        occurrence.Attempts.Any(a => a.StartedAt <= time && a.EndedAt >= time && a.EndedAt - a.StartedAt >= period);

    private static bool Runs(RecordedOccurrence occurrence, DateTimeOffset time) =>
        occurrence.Run is { State: RunState.Running, StartedAt: { } started } && started <= time;
}
