using Scheduler.Runs;
using Scheduler.Testing.History;

namespace Scheduler.EndToEnd.History;

/// <summary>The judge is judged first: a clean history passes, and each planted defect is found and named.</summary>
public sealed class HistoryCheckerTests
{
    private static readonly DateTimeOffset Booted = new(2026, 1, 31, 9, 0, 0, TimeSpan.Zero);
    private static readonly DateTimeOffset First = new(2026, 1, 31, 10, 0, 0, TimeSpan.Zero);

    [Fact]
    public void A_clean_history_passes()
    {
        var report = HistoryChecker.Check(Clean());

        Assert.True(report.IsClean, report.ToString());
        Assert.Contains("8 expected occurrences of 2 triggers", report.Summary, StringComparison.Ordinal);
    }

    [Fact]
    public void A_second_body_of_an_occurrence_is_found()
    {
        var clean = Clean();
        var again = Second(3) with { Token = 900, Replica = "b-2", Attempt = 2, Begin = At(3.5), End = At(3.6) };

        Finds(clean with { Bodies = [.. clean.Bodies, again] }, "is doubled: attempt 1 ended on a-1, which nothing happened to");
    }

    [Fact]
    public void One_attempt_on_two_replicas_is_found()
    {
        var clean = Clean();
        var again = Second(3) with { Token = 900, Replica = "b-2", Begin = At(3.5), End = At(3.6) };

        Finds(clean with { Bodies = [.. clean.Bodies, again] }, "is doubled: attempt 1 ran on a-1 and on b-2");
    }

    [Fact]
    public void A_second_row_of_an_occurrence_is_found()
    {
        var clean = Clean();

        Finds(clean with { Rows = [.. clean.Rows, clean.Rows[2] with { Id = "other" }] }, "has 2 rows");
    }

    [Fact]
    public void A_missing_occurrence_is_found()
    {
        var clean = Clean();
        var missing = Second(3).Occurrence;

        Finds(
            clean with
            {
                Bodies = [.. clean.Bodies.Where(b => b.Occurrence != missing)],
                Rows = [.. clean.Rows.Where(r => r.Occurrence != missing)],
            },
            $"{missing} is missing"
        );
    }

    [Fact]
    public void A_row_without_a_body_is_found()
    {
        var clean = Clean();

        Finds(clean with { Bodies = [.. clean.Bodies.Where(b => b != Second(3))] }, "succeeded in the ledger, but no body ended");
    }

    [Fact]
    public void A_run_that_the_schedule_does_not_have_is_found()
    {
        var clean = Clean();
        var stray = Second(3) with
        {
            Occurrence = new("quick", "second", First.AddSeconds(3.4)),
            Begin = At(3.4),
            End = At(3.41),
            Token = 350,
        };

        Finds(clean with { Bodies = [.. clean.Bodies, stray] }, "the schedule has no such time");
    }

    [Fact]
    public void Overlapping_bodies_are_found()
    {
        var clean = Clean();

        Finds(Replace(clean, Second(3), Second(3) with { End = At(4.5) }), "job:quick was acted under twice for 10 ms");
    }

    [Fact]
    public void A_short_overlap_with_a_long_body_before_the_last_one_is_found()
    {
        var clean = Clean();

        // The body of second 2 ends in time and lies between the two: the one before the last is the one that still acts.
        Finds(
            Replace(clean, Second(1), Second(1) with { End = At(3.015) }),
            "twice for 5 ms: quick/second@2026-01-31T10:00:01.000Z attempt 1 under 100 on a-1 and quick/second@2026-01-31T10:00:03.000Z"
        );
    }

    [Fact]
    public void A_token_that_goes_back_is_found()
    {
        var clean = Clean();

        Finds(Replace(clean, Second(3), Second(3) with { Token = 150 }), "the token did not grow");
    }

    [Fact]
    public void A_run_that_stays_open_is_found()
    {
        var clean = Clean();

        Finds(
            clean with
            {
                Rows = [.. clean.Rows.Select((r, i) => i == 1 ? r with { State = "running" } : r)],
            },
            "is not final: it is running"
        );
    }

    [Fact]
    public void An_overlap_that_no_body_explains_is_found()
    {
        var clean = Clean();
        var done = clean.Rows.Single(r => r.Occurrence.Trigger == "slow" && r.Occurrence.ScheduledAt == First.AddSeconds(4));

        Finds(
            clean with
            {
                Bodies = [.. clean.Bodies.Where(b => b.Occurrence != done.Occurrence)],
                Rows = [.. clean.Rows.Select(r => r == done ? r with { State = "overlapped" } : r)],
            },
            "no body of its trigger ran when it was due"
        );
    }

    [Fact]
    public void A_quick_job_may_not_overlap()
    {
        var clean = Clean();
        var done = clean.Rows[2];

        Finds(
            clean with
            {
                Bodies = [.. clean.Bodies.Where(b => b.Occurrence != done.Occurrence)],
                Rows = [.. clean.Rows.Select(r => r == done ? r with { State = "overlapped" } : r)],
            },
            "is overlapped, but its bodies are shorter than its period"
        );
    }

    [Fact]
    public void A_killed_body_is_no_violation_and_its_successor_neither()
    {
        var clean = Clean();
        var killed = Second(3) with { Phase = BodyPhase.Begun, End = null };
        var next = Second(3) with { Attempt = 2, Token = 305, Replica = "b-2", Begin = At(3.5), End = At(3.51) };
        var history = clean with
        {
            Bodies = [.. clean.Bodies.Where(b => b != Second(3)), killed, next],
            Rows = [.. clean.Rows.Select(r => r.Occurrence == killed.Occurrence ? r with { Attempt = 2, Token = 305 } : r)],
        };

        Finds(history, "began and never ended, although its replica was not killed");
        var explained = HistoryChecker.Check(history with { Faults = [new Fault("a", FaultKind.Kill, At(3.4))] });
        Assert.True(explained.IsClean, explained.ToString());
        Finds(history with { Faults = [new Fault("a", FaultKind.Kill, At(3.505))] }, "acted under twice");
    }

    [Fact]
    public void A_frozen_body_counts_until_it_is_told()
    {
        var clean = Clean();
        var told = Second(3) with { Phase = BodyPhase.Told, End = At(3.6) };
        var ended = Second(3) with { End = At(3.9) };
        var next = Second(3) with { Attempt = 2, Token = 305, Replica = "b-2", Begin = At(3.2), End = At(3.65) };
        var history = clean with
        {
            Bodies = [.. clean.Bodies.Where(b => b != Second(3)), told, ended, next],
            Rows = [.. clean.Rows.Select(r => r.Occurrence == told.Occurrence ? r with { Attempt = 2, Token = 305 } : r)],
            Faults = [new Fault("a", FaultKind.Freeze, At(3.1), At(3.5))],
            NoticeBound = TimeSpan.FromMilliseconds(150),
        };

        // The body that ended last is the older attempt: only the ledger's newest claim may have succeeded.
        var report = HistoryChecker.Check(history);
        Assert.True(report.IsClean, report.ToString());
        Finds(history with { NoticeBound = TimeSpan.FromMilliseconds(50) }, "acted under twice for 100 ms");
    }

    private static void Finds(RunHistory history, string sentence)
    {
        var report = HistoryChecker.Check(history);
        Assert.Contains(report.Violations, v => v.Contains(sentence, StringComparison.Ordinal));
    }

    private static RunHistory Replace(RunHistory history, BodyRecord old, BodyRecord by) =>
        history with
        {
            Bodies = [.. history.Bodies.Select(b => b == old ? by : b)],
            Rows = [.. history.Rows.Select(r => r.Occurrence == old.Occurrence ? r with { Token = by.Token } : r)],
        };

    private static TimeSpan At(double second) => First.AddSeconds(second) - Booted;

    private static BodyRecord Second(int second) =>
        new(
            new Occurrence("quick", "second", First.AddSeconds(second)),
            1,
            second * 100,
            "a-1",
            At(second + 0.01),
            At(second + 0.02),
            BodyPhase.Done
        );

    // A job of 10 ms on seconds 1 to 5, and one of 1.2 s on seconds 2, 4 and 6.
    private static RunHistory Clean()
    {
        var quick = ExpectedOccurrences.Every("quick", "second", TimeSpan.FromSeconds(1), First.AddSeconds(0.5), First.AddSeconds(5.5));
        var slow = ExpectedOccurrences.Every(
            "slow",
            "slow",
            TimeSpan.FromSeconds(2),
            First.AddSeconds(0.5),
            First.AddSeconds(6.5),
            mayOverlap: true
        );
        BodyRecord[] slowly = [.. slow.Due.Select((d, i) => Slow(d, i))];
        BodyRecord[] bodies = [.. Enumerable.Range(1, 5).Select(Second), .. slowly];
        return new RunHistory
        {
            Expected = [quick, slow],
            Bodies = bodies,
            Rows = [.. bodies.Select(Row)],
            BootedAt = Booted,
        };
    }

    private static BodyRecord Slow(DateTimeOffset due, int index) =>
        new(
            new Occurrence("slow", "slow", due),
            1,
            1_000 + index,
            "c-3",
            due - Booted + TimeSpan.FromMilliseconds(10),
            due - Booted + TimeSpan.FromMilliseconds(1_200),
            BodyPhase.Done
        );

    private static RunRow Row(BodyRecord body) =>
        new(
            body.Occurrence.ToString(),
            body.Occurrence,
            "succeeded",
            body.Attempt,
            body.Token,
            body.Replica,
            Booted + body.Begin,
            Booted + body.End,
            null
        );
}
