using Scheduler.Locking;
using Scheduler.Runs;

namespace Scheduler.Tests.Runs;

/// <summary>What the history tells of a run, from its attempts and what was kept beside them.</summary>
public sealed class RunStoryTests
{
    private static readonly DateTimeOffset Noon = new(2026, 1, 31, 12, 0, 0, TimeSpan.Zero);

    [Fact]
    public void Attempts_tell_claims_take_overs_and_ends_and_the_rest_stands_between_them()
    {
        RunAttempt[] attempts =
        [
            Attempt(1, 0, null, null),
            Attempt(2, 20, 21, RunOutcome.Interrupted),
            Attempt(3, 22, 30, RunOutcome.FailedWillRetry),
            Attempt(4, 40, 41, RunOutcome.Succeeded),
        ];
        RunEvent[] kept = [Kept(RunEventKind.Refused, 1, 25), Kept(RunEventKind.Lost, 1, 10)];

        var told = RunStory.Of(Run(attempts), kept);

        Assert.Equal(
            [
                (RunEventKind.Claimed, 1, 0, null),
                (RunEventKind.Lost, 1, 10, "why"),
                (RunEventKind.TakenOver, 2, 20, null),
                (RunEventKind.Interrupted, 2, 21, null),
                (RunEventKind.Claimed, 3, 22, null),
                (RunEventKind.Refused, 1, 25, "why"),
                (RunEventKind.Completed, 3, 30, "failedWillRetry"),
                (RunEventKind.Claimed, 4, 40, null),
                (RunEventKind.Completed, 4, 41, "succeeded"),
            ],
            told.Select(e => (e.Kind, e.Attempt, (int)(e.At - Noon).TotalSeconds, e.Detail))
        );
        Assert.All(told, e => Assert.Equal(("id", $"r{e.Attempt}", (long)e.Attempt), (e.RunId, e.Replica, e.Token.Value)));
    }

    [Fact]
    public void What_happened_at_one_instant_keeps_its_order()
    {
        RunAttempt[] attempts = [Attempt(1, 0, 0, RunOutcome.Interrupted), Attempt(2, 0, 0, RunOutcome.Succeeded)];
        Assert.Equal(
            [RunEventKind.Claimed, RunEventKind.Interrupted, RunEventKind.Claimed, RunEventKind.Completed],
            RunStory.Of(Run(attempts), []).Select(e => e.Kind)
        );
        Assert.Empty(RunStory.Of(Run([]), []));
    }

    private static RunAttempt Attempt(int number, int from, int? to, RunOutcome? outcome) =>
        new(
            "id",
            number,
            new FencingToken(number),
            $"r{number}",
            Noon.AddSeconds(from),
            to is { } end ? Noon.AddSeconds(end) : null,
            outcome
        );

    private static RunEvent Kept(RunEventKind kind, int attempt, int at) =>
        new("id", kind, Noon.AddSeconds(at), attempt, new FencingToken(attempt), $"r{attempt}", "why");

    private static RecordedOccurrence Run(RunAttempt[] attempts) =>
        new(
            new RunRecord
            {
                Id = "id",
                Job = "j",
                Trigger = "t",
                IsScheduled = true,
                ScheduledAt = Noon,
                LockKey = LockKey.From("k"),
                State = RunState.Succeeded,
                Attempt = attempts.Length,
            },
            attempts
        );
}
