using Scheduler.Runs;

namespace Scheduler.Jobs.Reconciliation;

/// <summary>What is to be done about a trigger's due occurrences. Pure.</summary>
/// <param name="SettledUntil">Everything due up to here has a row, gets one by <paramref name="Overlapped"/>, or is left out.</param>
/// <param name="Overlapped">To be recorded as overlapped.</param>
/// <param name="After">To be run, oldest first: the last ones that came due while another ran.</param>
/// <param name="Missing">To be run, oldest first: nobody was there to fire them.</param>
/// <param name="LeftOut">Never to be run: the job's rule for catching up leaves them out.</param>
internal sealed record Settlement(
    DateTimeOffset? SettledUntil,
    IReadOnlyList<DateTimeOffset> Overlapped,
    IReadOnlyList<DateTimeOffset> After,
    IReadOnlyList<DateTimeOffset> Missing,
    IReadOnlyList<DateTimeOffset> LeftOut
)
{
    /// <summary>Judges due occurrences against the rows of the ledger.</summary>
    /// <param name="due">The due times, in order.</param>
    /// <param name="rows">The rows in their range, and earlier ones that ran in it.</param>
    /// <param name="before">The newest row before the range that is not overlapped.</param>
    /// <param name="next">The due time after the last of them, if there is one.</param>
    /// <param name="onOverlap">What becomes of those that came due while another ran.</param>
    /// <param name="rule">Which of the missing ones are run.</param>
    /// <param name="now">The time by which they are late.</param>
    /// <param name="isPaused">Which of them came due while the job was paused: those without a row are nothing.</param>
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
        DateTimeOffset? next,
        OnOverlap onOverlap,
        CatchUpRule rule,
        DateTimeOffset now,
        Func<DateTimeOffset, bool>? isPaused = null
    )
    {
        var byTime = rows.ToDictionary(r => r.Run.ScheduledAt);
        var overlapped = new List<DateTimeOffset>();
        var (after, missing) = (new List<int>(), new List<int>());
        var last = before;
        var gap = false;
        var (judged, newest) = (0, -1);
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
            else if (isPaused?.Invoke(time) == true)
            {
                judged++;
                continue;
            }
            else if (!gap && last is not null && Runs(last, time))
            {
                break;
            }
            else if (RanMeanwhile(gap ? null : last, rows, time, Period(due, i, next)) is { } end)
            {
                var following = i + 1 < due.Count ? due[i + 1] : next;
                var isLast = onOverlap == OnOverlap.RunAfter && (following is null || following > end);
                if (isLast && !rows.Any(r => r.Run.ScheduledAt > time && r.Run.State != RunState.Overlapped))
                {
                    after.Add(i);
                }
                else
                {
                    overlapped.Add(time);
                }
            }
            else
            {
                missing.Add(i);
                gap = true;
            }
            judged++;
            newest = i;
        }
        var run = missing.Where(i => rule.Runs(now - due[i], Period(due, i, next), i == newest)).ToList();
        var settled = after.Concat(run).Append(judged).Min();
        return new Settlement(
            settled > 0 ? due[settled - 1] : null,
            overlapped,
            [.. after.Select(i => due[i])],
            [.. run.Select(i => due[i])],
            [.. missing.Except(run).Select(i => due[i])]
        );
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

    /// <summary>The end of an attempt that was going on at a time: of the one before it, or of any that lasted a whole period.</summary>
    private static DateTimeOffset? RanMeanwhile(
        RecordedOccurrence? before,
        IReadOnlyList<RecordedOccurrence> rows,
        DateTimeOffset time,
        TimeSpan? period
    ) =>
        before?.Attempts.FirstOrDefault(a => IsAt(a, time))?.EndedAt
        ?? rows.SelectMany(r => r.Attempts).FirstOrDefault(a => IsAt(a, time) && a.EndedAt - a.StartedAt >= period)?.EndedAt;

    private static bool Ran(RecordedOccurrence occurrence, DateTimeOffset time) => occurrence.Attempts.Any(a => IsAt(a, time));

    private static bool IsAt(RunAttempt attempt, DateTimeOffset time) => attempt.StartedAt <= time && attempt.EndedAt >= time;

    private static bool Runs(RecordedOccurrence occurrence, DateTimeOffset time) =>
        occurrence.Run is { State: RunState.Running, StartedAt: { } started } && started <= time;
}
