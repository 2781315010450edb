using System.Globalization;
using System.Text;
using Scheduler.Runs;

namespace Scheduler.Testing.History;

/// <summary>The verdict on a run.</summary>
/// <param name="Violations">One sentence each; empty when everything held.</param>
/// <param name="Summary">What was judged, in numbers.</param>
public sealed record HistoryReport(IReadOnlyList<string> Violations, string Summary)
{
    /// <summary>Whether everything held.</summary>
    public bool IsClean => Violations.Count == 0;

    public override string ToString()
    {
        var text = new StringBuilder(Summary);
        foreach (var violation in Violations.Take(50))
        {
            text.Append("\n  ").Append(violation);
        }
        return Violations.Count > 50
            ? text.Append(CultureInfo.InvariantCulture, $"\n  … {Violations.Count} in all").ToString()
            : text.ToString();
    }
}

/// <summary>
/// Judges what a group of replicas did: each expected occurrence succeeded once and none is missing, acting intervals of a lock key do
/// not overlap on the host's one boot clock, tokens grow with every attempt, what is overlapped really was, and nothing stays open.
/// Expected occurrences come from the schedule; what the product recorded is only compared with them. Pure.
/// </summary>
public static class HistoryChecker
{
    /// <summary>Judges a run.</summary>
    public static HistoryReport Check(RunHistory history)
    {
        var attempts = Attempt.Of(history);
        var violations = new List<string>();
        violations.AddRange(Occurrences(history, attempts));
        violations.AddRange(Doubled(history, attempts));
        violations.AddRange(Exclusion(history, attempts));
        violations.AddRange(Tokens(attempts));
        var summary =
            $"{history.Expected.Sum(e => e.Due.Count)} expected occurrences of {history.Expected.Count} triggers, "
            + $"{history.Rows.Count} rows ({States(history.Rows)}), {attempts.Count} bodies, {history.Faults.Count} faults: "
            + $"{violations.Count} violations";
        return new HistoryReport(violations, summary);
    }

    private static string States(IReadOnlyList<RunRow> rows) =>
        string.Join(", ", rows.GroupBy(r => r.State).OrderBy(g => g.Key, StringComparer.Ordinal).Select(g => $"{g.Count()} {g.Key}"));

    // Every expected occurrence has its end, and nothing else happened in the window.
    private static IEnumerable<string> Occurrences(RunHistory history, IReadOnlyList<Attempt> attempts)
    {
        var rows = history.Rows.ToLookup(r => r.Occurrence);
        var bodies = attempts.ToLookup(a => a.Occurrence);
        foreach (var expected in history.Expected)
        {
            foreach (var due in expected.Due)
            {
                var occurrence = new Occurrence(expected.Job, expected.Trigger, due);
                if (rows[occurrence].FirstOrDefault() is not { } row)
                {
                    yield return $"{occurrence} is missing: no row, {bodies[occurrence].Count()} bodies.";
                    continue;
                }
                if (Ending(history, expected, row, [.. bodies[occurrence]], attempts) is { } problem)
                {
                    yield return $"{occurrence} {problem}";
                }
            }
            var known = expected.Due.ToHashSet();
            var seen = history.Rows.Select(r => r.Occurrence).Concat(attempts.Select(a => a.Occurrence)).Distinct();
            foreach (var other in seen.Where(o => o.Job == expected.Job && o.Trigger == expected.Trigger && !known.Contains(o.ScheduledAt)))
            {
                if (expected.Due.Count > 0 && other.ScheduledAt >= expected.Due[0] && other.ScheduledAt <= expected.Due[^1])
                {
                    yield return $"{other} is unexpected: the schedule has no such time.";
                }
            }
        }
        var triggers = history.Expected.Select(e => (e.Job, e.Trigger)).ToHashSet();
        foreach (
            var stranger in attempts.Select(a => (a.Occurrence.Job, a.Occurrence.Trigger)).Distinct().Where(t => !triggers.Contains(t))
        )
        {
            yield return $"{stranger.Job}/{stranger.Trigger} is unexpected: nobody scheduled it.";
        }
    }

    private static string? Ending(
        RunHistory history,
        ExpectedOccurrences expected,
        RunRow row,
        Attempt[] bodies,
        IReadOnlyList<Attempt> attempts
    )
    {
        if (!row.IsFinal)
        {
            return $"is not final: it is {row.State} on {row.Replica}, attempt {row.Attempt}.";
        }
        if (row.State == "overlapped")
        {
            return bodies.Length > 0 ? "is overlapped in the ledger, but a body ran."
                : !expected.MayOverlap ? "is overlapped, but its bodies are shorter than its period."
                : Covers(history, row.Occurrence, attempts) ? null
                : "is overlapped, but no body of its trigger ran when it was due.";
        }
        if (row.State != "succeeded")
        {
            return $"is {row.State}: {row.Error}";
        }
        var last = bodies.Where(b => b.IsDone).MaxBy(b => b.Number);
        return last is null ? "succeeded in the ledger, but no body ended."
            : last.Number != row.Attempt || last.Token != row.Token
                ? $"succeeded as attempt {row.Attempt} under token {row.Token}, but the last body that ended is attempt {last.Number} "
                    + $"under {last.Token}."
            : null;
    }

    // Only an attempt that ended covers: what comes due while a dead replica holds the lock is missed, and has to run.
    private static bool Covers(RunHistory history, Occurrence occurrence, IReadOnlyList<Attempt> attempts)
    {
        var due = occurrence.ScheduledAt - history.BootedAt;
        return attempts.Any(a =>
            a.HasEnded
            && a.Occurrence.Job == occurrence.Job
            && a.Occurrence.Trigger == occurrence.Trigger
            && a.Begin - history.ClockTolerance <= due
            && due <= a.LastSeen + history.ClockTolerance
        );
    }

    // One row per occurrence, one body per attempt, and a second body that ends only where a fault hit the first one's replica.
    private static IEnumerable<string> Doubled(RunHistory history, IReadOnlyList<Attempt> attempts)
    {
        foreach (var rows in history.Rows.GroupBy(r => r.Occurrence).Where(g => g.Count() > 1))
        {
            yield return $"{rows.Key} has {rows.Count()} rows.";
        }
        foreach (var bodies in attempts.GroupBy(a => a.Occurrence).Where(g => g.Count() > 1))
        {
            Attempt[] ordered = [.. bodies.OrderBy(b => b.Number).ThenBy(b => b.Begin)];
            foreach (var (before, after) in ordered.Zip(ordered.Skip(1)))
            {
                if (before.Number == after.Number)
                {
                    yield return $"{bodies.Key} is doubled: attempt {after.Number} ran on {before.Replica} and on {after.Replica}.";
                }
                // A body that was told and went on counts as interrupted; one whose replica died or stood still may not have been recorded.
                else if (
                    before is { IsDone: true, ToldAt: null }
                    && !history.Faults.Any(f =>
                        f.Kind != FaultKind.Stop && f.Hits(before.Replica) && IsBetween(f, before.Begin, after.Begin)
                    )
                )
                {
                    yield return $"{bodies.Key} is doubled: attempt {before.Number} ended on {before.Replica}, which nothing "
                        + "happened to, and "
                        + $"attempt {after.Number} ran on {after.Replica}.";
                }
            }
        }
    }

    private static bool IsBetween(Fault fault, TimeSpan begin, TimeSpan next) => fault.From <= next && (fault.Until ?? fault.From) >= begin;

    private static IEnumerable<string> Exclusion(RunHistory history, IReadOnlyList<Attempt> attempts)
    {
        foreach (var attempt in attempts.Where(a => a.End is null))
        {
            yield return $"{attempt} began and never ended, although its replica was not killed.";
        }
        foreach (var key in attempts.GroupBy(a => a.Occurrence.Job, StringComparer.Ordinal))
        {
            // A sweep by begin: whoever reaches furthest so far is the only one that the next can overlap with.
            (Attempt Owner, Acting Span)? furthest = null;
            foreach (var (owner, span) in key.SelectMany(a => a.ActsIn(history).Select(s => (a, s))).OrderBy(p => p.s.From))
            {
                if (furthest is { } other && other.Owner != owner && span.From < other.Span.Until)
                {
                    var overlap = Smaller(other.Span.Until, span.Until) - span.From;
                    var allowed = span.AfterThaw || other.Span.AfterThaw ? history.NoticeBound : TimeSpan.Zero;
                    if (overlap > allowed)
                    {
                        yield return $"job:{key.Key} was acted under twice for {overlap.TotalMilliseconds:0.###} ms: "
                            + $"{other.Owner} and {owner}.";
                    }
                }
                if (furthest is null || span.Until > furthest.Value.Span.Until)
                {
                    furthest = (owner, span);
                }
            }
        }
    }

    private static TimeSpan Smaller(TimeSpan left, TimeSpan right) => left < right ? left : right;

    private static IEnumerable<string> Tokens(IReadOnlyList<Attempt> attempts)
    {
        foreach (var key in attempts.GroupBy(a => a.Occurrence.Job, StringComparer.Ordinal))
        {
            Attempt[] ordered = [.. key.OrderBy(a => a.Begin)];
            foreach (var (before, after) in ordered.Zip(ordered.Skip(1)).Where(p => p.Second.Token <= p.First.Token))
            {
                yield return $"job:{key.Key}: the token did not grow from {before} to {after}.";
            }
        }
    }
}
