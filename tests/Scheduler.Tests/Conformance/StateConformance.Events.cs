using Scheduler.Runs;

namespace Scheduler.Tests.Conformance;

// What is kept of a run beside its row and its attempts.
public abstract partial class StateConformance
{
    [Fact]
    public async Task Events_are_kept_once_in_order_and_go_with_their_run()
    {
        var run = await ClaimedAsync(Claim(At(0), 5));
        var other = await ClaimedAsync(Claim(At(1), 6));
        RunEvent[] events =
        [
            Event(run, RunEventKind.Refused, 3, new string('x', 999) + "\ud83d\ude00"),
            Event(run, RunEventKind.Lost, 1, "a \0 and a half \ud83d"),
            Event(run, RunEventKind.Closed, 2, null),
            Event(other, RunEventKind.Lost, 1, "other"),
        ];
        await _state.Events.AddAsync(events, Cancel);
        // Its answer was lost, so it is sent again.
        await _state.Events.AddAsync([.. events.Reverse()], Cancel);
        await _state.Events.AddAsync([], Cancel);

        var kept = await _state.Events.ListAsync(run.Id, Cancel);
        Assert.Equal([RunEventKind.Lost, RunEventKind.Closed, RunEventKind.Refused], kept.Select(e => e.Kind));
        Assert.Equal(events[2], kept[1]);
        // What a column cannot keep does not keep the rest from being kept; what is too long is not cut inside a character.
        Assert.StartsWith("a ", kept[0].Detail, StringComparison.Ordinal);
        Assert.Equal(new string('x', 999), kept[2].Detail);
        Assert.Empty(await (await OpenAsync("b")).Events.ListAsync(run.Id, Cancel));

        await CompleteAsync(End(run, RunOutcome.Succeeded));
        await ObserveAsync("f", Noon.AddMinutes(-1));
        await _state.Schedules.SettleAsync([new(new("settle", "nightly", "f"), Noon.AddDays(1))], Cancel);
        Assert.Equal(1, await _state.Runs.PruneAsync(Noon.AddDays(1), 100, Cancel));
        Assert.Empty(await _state.Events.ListAsync(run.Id, Cancel));
        Assert.Single(await _state.Events.ListAsync(other.Id, Cancel));

        // Too late: it would stay for ever.
        await _state.Events.AddAsync([events[0], Event(other, RunEventKind.Refused, 4, null)], Cancel);
        Assert.Empty(await _state.Events.ListAsync(run.Id, Cancel));
        Assert.Equal(2, (await _state.Events.ListAsync(other.Id, Cancel)).Count);
    }

    [Fact]
    public async Task The_kept_lines_of_a_log_are_not_cut()
    {
        var run = await ClaimedAsync(Claim(At(0), 5));
        var lines = string.Join('\n', Enumerable.Range(0, 200).Select(i => new string((char)('a' + (i % 26)), 500)));
        await _state.Events.AddAsync([Event(run, RunEventKind.Log, 1, lines), Event(run, RunEventKind.Lost, 2, lines)], Cancel);
        var kept = await _state.Events.ListAsync(run.Id, Cancel);
        Assert.Equal((RunEventKind.Log, lines), (kept[0].Kind, kept[0].Detail));
        Assert.Equal(1_000, kept[1].Detail!.Length);
    }

    [Fact]
    public async Task Events_of_no_run_and_those_that_attempts_tell_are_not_kept()
    {
        var run = await ClaimedAsync(Claim(At(0), 5));
        await _state.Events.AddAsync([Event(run, RunEventKind.Lost, 1, null) with { RunId = "no-such-run" }], Cancel);
        Assert.Empty(await _state.Events.ListAsync("no-such-run", Cancel));
        await Assert.ThrowsAsync<ArgumentException>(async () =>
            await _state.Events.AddAsync([Event(run, RunEventKind.Completed, 1, null)], Cancel)
        );
        await Assert.ThrowsAsync<ArgumentOutOfRangeException>(async () =>
            await _state.Events.AddAsync([.. Enumerable.Repeat(Event(run, RunEventKind.Lost, 1, null), IRunEvents.MaxBatch + 1)], Cancel)
        );
    }

    private static RunEvent Event(RunRecord run, RunEventKind kind, int second, string? detail) =>
        new(run.Id, kind, Noon.AddSeconds(second), run.Attempt, run.Token, "r9", detail);
}
