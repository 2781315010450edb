using FsCheck;
using FsCheck.Fluent;
using Scheduler.Jobs;
using Scheduler.Jobs.Reconciliation;
using Scheduler.Locking;
using Scheduler.Runs;

namespace Scheduler.Tests.Jobs;

public sealed partial class SettlementTests
{
    private static readonly DateTimeOffset Start = new(2026, 1, 31, 12, 0, 0, TimeSpan.Zero);

    [Fact]
    public void AllWithRowsAreSettled()
    {
        var result = Judge(Due(1, 2, 3), [Row(1), Row(2), Row(3)], null, At(4));

        Assert.Equal(At(3), result.SettledUntil);
        Assert.Empty(result.Missing);
        Assert.Empty(result.Overlapped);
    }

    [Fact]
    public void OneWithoutARowIsMissingAndNothingAfterItIsSettled()
    {
        var result = Judge(Due(1, 2, 3), [Row(1), Row(3)], null, At(4));

        Assert.Equal(At(1), result.SettledUntil);
        Assert.Equal([At(2)], result.Missing);
    }

    [Fact]
    public void ThoseDueWhileTheOneBeforeRanAreOverlapped()
    {
        var result = Judge(Due(1, 2, 3, 4), [Row(1, from: 1.0, to: 3.2), Row(4, from: 4, to: 4.1)], null, At(5));

        Assert.Equal([At(2), At(3)], result.Overlapped);
        Assert.Empty(result.Missing);
        Assert.Equal(At(4), result.SettledUntil);
    }

    [Fact]
    public void TheOneBeforeMayStandBeforeTheRange()
    {
        var result = Judge(Due(2, 3), [Row(3)], Row(1, from: 1, to: 2.5), At(4));

        Assert.Equal([At(2)], result.Overlapped);
        Assert.Equal(At(3), result.SettledUntil);
    }

    [Fact]
    public void WhileTheOneBeforeRunsNothingIsSaid()
    {
        var result = Judge(Due(1, 2, 3), [Row(1, state: RunState.Running, from: 1)], null, At(4));

        Assert.Equal(At(1), result.SettledUntil);
        Assert.Empty(result.Overlapped);
        Assert.Empty(result.Missing);
    }

    [Fact]
    public void TimeWithADeadHolderIsNoOverlap()
    {
        // Attempt 1 died without an end; attempt 2 began at 9 and ended at 9.5.
        var taken = Row(1, from: 9, to: 9.5) with
        {
            Attempts = [Attempt(1, 1.0, null), Attempt(2, 9, 9.5)],
        };

        var result = Judge(Due(1, 2, 3), [taken], null, At(4));

        Assert.Equal([At(2), At(3)], result.Missing);
        Assert.Empty(result.Overlapped);
    }

    [Fact]
    public void AnOccurrenceDueWhileAnEarlierMissedOneIsMadeUpForIsMissingNotOverlapped()
    {
        // 2 was missed and made up for between 4.9 and 5.1; 3 and 4 are still missing, so 2 is not the one before 5.
        var result = Judge(Due(1, 2, 3, 4, 5), [Row(1), Row(2, from: 4.9, to: 5.1)], null, At(6));

        Assert.Equal([At(3), At(4), At(5)], result.Missing);
        Assert.Empty(result.Overlapped);
    }

    [Fact]
    public void ABodyLongerThanThePeriodThatIsMadeUpForOverlapsWhatCameDueMeanwhile()
    {
        // 2 was missed and made up for between 3.5 and 6.5, with a period of 1: were 4, 5 and 6 missing, there would be more of them for
        // ever.
        var result = Judge(Due(1, 2, 3, 4, 5, 6, 7), [Row(1), Row(2, from: 3.5, to: 6.5)], null, At(8));

        Assert.Equal([At(4), At(5), At(6)], result.Overlapped);
        Assert.Equal([At(3), At(7)], result.Missing);
        Assert.Equal(At(2), result.SettledUntil);
    }

    [Fact]
    public void ALongRunThatMadeUpForAnEarlierOccurrenceOverlapsWhatCameDueMeanwhile()
    {
        // 1 was missed and made up for from 7 to 10.2, after all up to 7 was settled; its body is longer than the period.
        var result = Judge(Due(8, 9, 10), [Row(1, from: 7, to: 10.2)], Row(5, from: 5, to: 7.9), At(11));

        Assert.Equal([At(8), At(9), At(10)], result.Overlapped);
        Assert.Empty(result.Missing);
    }

    [Fact]
    public void OverlappedRowsAreNotTheOneBefore()
    {
        var result = Judge(Due(1, 2, 3), [Row(1, from: 1, to: 3.5), Row(2, state: RunState.Overlapped)], null, At(4));

        Assert.Equal([At(3)], result.Overlapped);
    }

    [Fact]
    public void ASlowRunThatIsMadeUpForOverlapsWhatComesDueMeanwhileSoTheBacklogEnds()
    {
        // 2 was missed and made up for between 4.5 and 7.5; 3 and 4 are still to be made up for.
        var result = Judge(Due(1, 2, 3, 4, 5, 6, 7, 8), [Row(1), Row(2, from: 4.5, to: 7.5)], null, At(9));

        Assert.Equal([At(3), At(4), At(8)], result.Missing);
        Assert.Equal([At(5), At(6), At(7)], result.Overlapped);
    }

    [Fact]
    public void EveryDueOccurrenceEndsInExactlyOneWayAndSettlingGoesForwardOnly() =>
        Prop.ForAll(
                Arb.From(Gen.ListOf(Histories)),
                Arb.From(Gen.Elements(CatchUp.All, CatchUp.Latest, CatchUp.None)),
                Arb.From(
                    from later in Gen.Elements(0.0, 3, 100)
                    from onOverlap in Gen.Elements(OnOverlap.Skip, OnOverlap.RunAfter)
                    select (later, onOverlap)
                ),
                (history, policy, when) =>
                {
                    var (later, onOverlap) = when;
                    var rule = new CatchUpRule(policy, null, CatchUpRule.LargestLimit);
                    var due = Enumerable.Range(1, history.Count).Select(i => At(i)).ToList();
                    var rows = history
                        .Select(
                            (h, i) =>
                                (h.State, Row: h.State is { } state ? Row(i + 1, state, i + 1 + h.Late, i + 1 + h.Late + h.Length) : null)
                        )
                        .Where(h => h.Row is not null)
                        .Select(h => h.Row!)
                        .ToList();

                    var after = At(history.Count + 1);

                    var result = Settlement.Of(due, rows, null, after, onOverlap, rule, after.AddSeconds(later));

                    var recorded = rows.Select(r => r.Run.ScheduledAt).ToHashSet();
                    List<DateTimeOffset> named = [.. result.Overlapped, .. result.After, .. result.Missing, .. result.LeftOut];
                    Assert.Equal(named.Count, named.Distinct().Count());
                    Assert.Empty(named.Intersect(recorded));
                    Assert.Equal(result.Missing.Order(), result.Missing);
                    // What is neither recorded nor named is undecided: only while a run goes on, and nothing after it is named.
                    var undecided = due.Except(recorded).Except(named).ToList();
                    Assert.True(undecided.Count == 0 || rows.Exists(r => r.Run.State == RunState.Running));
                    Assert.DoesNotContain(named, t => undecided.Count > 0 && t > undecided[0]);
                    Assert.All(
                        due.Where(t => t <= result.SettledUntil),
                        t => Assert.True(recorded.Contains(t) || result.Overlapped.Contains(t) || result.LeftOut.Contains(t))
                    );
                    // The same look after the named ones were recorded settles at least as far, and names none of them again.
                    var then = Settlement.Of(
                        due,
                        [
                            .. rows.Concat(result.Overlapped.Select(t => Row((t - Start).TotalSeconds, RunState.Overlapped)))
                                .OrderBy(r => r.Run.ScheduledAt),
                        ],
                        null,
                        after,
                        onOverlap,
                        rule,
                        after.AddSeconds(later)
                    );
                    Assert.True((then.SettledUntil ?? Start) >= (result.SettledUntil ?? Start));
                    Assert.Empty(then.Overlapped.Intersect(result.Overlapped));
                }
            )
            .QuickCheckThrowOnFailure();

    private static readonly Gen<(RunState? State, double Late, double Length)> Histories =
        from state in Gen.Elements<RunState?>(null, RunState.Succeeded, RunState.Succeeded, RunState.Overlapped, RunState.Running)
        from late in Gen.Elements(0, 0.5, 4.2)
        from length in Gen.Elements(0, 0.3, 2.5)
        select (state, late, length);

    // With every missed one to be run, however late.
    private static Settlement Judge(
        IReadOnlyList<DateTimeOffset> due,
        IReadOnlyList<RecordedOccurrence> rows,
        RecordedOccurrence? before,
        DateTimeOffset next
    ) =>
        Settlement.Of(
            due,
            rows,
            before,
            next,
            OnOverlap.Skip,
            new CatchUpRule(CatchUp.All, null, CatchUpRule.LargestLimit),
            next.AddDays(1)
        );

    private static Settlement JudgeBy(CatchUpRule rule, double now, IReadOnlyList<DateTimeOffset> due, params RecordedOccurrence[] rows) =>
        Settlement.Of(due, rows, null, due[^1] + (due[^1] - due[^2]), OnOverlap.Skip, rule, At(now));

    private static string Text(IEnumerable<DateTimeOffset> times) => string.Join(' ', times.Select(t => (t - Start).TotalSeconds));

    private static DateTimeOffset At(double seconds) => Start.AddSeconds(seconds);

    private static List<DateTimeOffset> Due(params double[] seconds) => [.. seconds.Select(At)];

    private static RunAttempt Attempt(int number, double from, double? to) =>
        new(
            "run",
            number,
            new FencingToken(number),
            "replica",
            At(from),
            to is { } end ? At(end) : null,
            to is null ? null : RunOutcome.Succeeded
        );

    private static RecordedOccurrence Row(double at, RunState state = RunState.Succeeded, double? from = null, double? to = null)
    {
        var run = new RunRecord
        {
            Id = $"run-{at}",
            Job = "job",
            Trigger = "trigger",
            IsScheduled = true,
            ScheduledAt = At(at),
            LockKey = LockKey.From("job:job"),
            State = state,
            Attempt = state == RunState.Overlapped ? 0 : 1,
            StartedAt = state == RunState.Overlapped ? null : At(from ?? at),
            FinishedAt = state == RunState.Succeeded ? At(to ?? at) : null,
        };
        return new RecordedOccurrence(
            run,
            state == RunState.Overlapped ? [] : [Attempt(1, from ?? at, state == RunState.Succeeded ? to ?? at : null)]
        );
    }
}
