using Scheduler.Runs;

namespace Scheduler.Tests.Conformance;

/// <summary>Failures, the last of them, and another go.</summary>
public abstract partial class StateConformance
{
    [Fact]
    public async Task The_last_failure_makes_the_run_dead_and_another_go_begins_anew()
    {
        var first = await ClaimedAsync(Claim(At(0), 5));
        await CompleteAsync(End(first, RunOutcome.FailedWillRetry, error: "one"));
        var second = await ClaimedAsync(Again(first.Id, 6) with { Now = Noon.AddMinutes(5) });
        Assert.Equal(1, second.Failures);
        await CompleteAsync(End(second, RunOutcome.Failed, error: "two") with { IsLastAttempt = true });

        var dead = (await _state.Runs.FindAsync(first.Id, Cancel))!;
        Assert.Equal((RunState.Dead, 2, "two"), (dead.Run.State, dead.Run.Failures, dead.Run.Error));
        Assert.Equal([RunOutcome.FailedWillRetry, RunOutcome.Failed], dead.Attempts.Select(a => a.Outcome));
        Assert.IsType<ClaimResult.Recorded>(await _state.Runs.ClaimAsync(Again(first.Id, 7), Cancel));

        var opened = (await _state.Runs.ReopenAsync(first.Id, Cancel))!;
        Assert.Equal((RunState.Waiting, 2, 0, 0), (opened.State, opened.Attempt, opened.Failures, opened.Crashes));
        Assert.Equal(("two", null), (opened.Error, opened.NextAttemptAt));
        Assert.Equal(first.Id, Assert.Single(await OpenRunsAsync()).Id);
        Assert.Equal(opened, await _state.Runs.ReopenAsync(first.Id, Cancel));

        var third = await ClaimedAsync(Again(first.Id, 8));
        Assert.Equal((3, RunState.Running), (third.Attempt, third.State));
        await CompleteAsync(End(third, RunOutcome.Succeeded));
        Assert.Empty(await OpenRunsAsync());
        var ended = (await _state.Runs.FindAsync(first.Id, Cancel))!.Attempts.Select(a => a.EndedAt is not null);
        Assert.Equal([true, true, true], ended);
    }

    [Fact]
    public async Task A_run_that_crashes_made_dead_can_be_opened_and_its_attempt_has_no_end()
    {
        var run = await ClaimedAsync(Claim(At(0), 5));
        Assert.IsType<ClaimResult.Closed>(await _state.Runs.ClaimAsync(Again(run.Id, 6, max: 0), Cancel));

        var opened = (await _state.Runs.ReopenAsync(run.Id, Cancel))!;
        Assert.Equal((RunState.Waiting, 0, null), (opened.State, opened.Crashes, opened.FinishedAt));
        var again = await ClaimedAsync(Again(run.Id, 7, max: 0));
        Assert.Equal((2, 0), (again.Attempt, again.Crashes));
        await CompleteAsync(End(again, RunOutcome.Succeeded));
        var attempts = (await _state.Runs.FindAsync(run.Id, Cancel))!.Attempts;
        Assert.Equal([(false, null), (true, RunOutcome.Succeeded)], attempts.Select(a => (a.EndedAt is not null, a.Outcome)));
    }

    [Fact]
    public async Task An_occurrence_that_waits_for_its_key_is_open_and_recorded_once()
    {
        await _state.Runs.RecordWaitingAsync(At(0), Key, """{"a":"b"}""", Noon, Cancel);
        await _state.Runs.RecordWaitingAsync(At(0), Key, null, Noon, Cancel);
        var waiting = Assert.Single(await OpenRunsAsync());
        Assert.Equal(
            (RunState.Waiting, 0, true, At(0).ScheduledAt),
            (waiting.State, waiting.Attempt, waiting.IsScheduled, waiting.ScheduledAt)
        );
        Assert.Equal("""{"a":"b"}""", waiting.Data);
        Assert.Equal(waiting.Id, Assert.IsType<ClaimResult.Recorded>(await _state.Runs.ClaimAsync(Claim(At(0), 5), Cancel)).Run.Id);

        var run = await ClaimedAsync(Again(waiting.Id, 6));
        Assert.Equal((1, 0), (run.Attempt, run.Crashes));
        await CompleteAsync(End(run, RunOutcome.Succeeded));
        await _state.Runs.RecordWaitingAsync(At(0), Key, null, Noon, Cancel);
        Assert.Empty(await OpenRunsAsync());
        Assert.Single((await _state.Runs.FindAsync(run.Id, Cancel))!.Attempts);
    }

    [Fact]
    public async Task Only_what_failed_or_waits_is_opened()
    {
        var done = await ClaimedAsync(Claim(At(0), 5));
        await CompleteAsync(End(done, RunOutcome.Succeeded));
        var running = await ClaimedAsync(Claim(At(1), 6));
        var waiting = await ClaimedAsync(Claim(At(2), 7));
        await CompleteAsync(End(waiting, RunOutcome.FailedWillRetry));

        Assert.Equal(RunState.Succeeded, (await _state.Runs.ReopenAsync(done.Id, Cancel))!.State);
        Assert.Equal(running, await _state.Runs.ReopenAsync(running.Id, Cancel));
        Assert.Null(await _state.Runs.ReopenAsync("no-such-run", Cancel));
        Assert.Null(await (await OpenAsync("b")).Runs.ReopenAsync(waiting.Id, Cancel));
        Assert.IsType<ClaimResult.Recorded>(await _state.Runs.ClaimAsync(Again(waiting.Id, 8), Cancel));
        var now = (await _state.Runs.ReopenAsync(waiting.Id, Cancel))!;
        Assert.Equal((RunState.Waiting, 1, null), (now.State, now.Failures, now.NextAttemptAt));
        Assert.Equal(2, (await ClaimedAsync(Again(waiting.Id, 9))).Attempt);
    }
}
