using Scheduler.Runs;

namespace Scheduler.Tests.Conformance;

// What the reconciler asks: definitions, what was due and what came of it, and what may be forgotten.
public abstract partial class StateConformance
{
    [Fact]
    public async Task Pruning_stays_behind_what_is_settled()
    {
        await ObserveAsync("f", Noon.AddMinutes(-1));
        for (var i = 0; i < 4; i++)
        {
            await CompleteAsync(End(await ClaimedAsync(Claim(At(i), 5 + i)), RunOutcome.Succeeded));
        }
        Assert.Equal(0, await _state.Runs.PruneAsync(Noon.AddDays(1), 100, Cancel));
        await _state.Schedules.SettleAsync([new(new("settle", "nightly", "f"), Noon.AddMinutes(1))], Cancel);
        await _state.Schedules.SettleAsync([new(new("settle", "nightly", "f"), Noon)], Cancel);
        Assert.Equal(1, await _state.Runs.PruneAsync(Noon.AddDays(1), 1, Cancel));
        Assert.Equal(1, await _state.Runs.PruneAsync(Noon.AddDays(1), 100, Cancel));
        var left = (await RangeAsync(DateTimeOffset.UnixEpoch, Noon.AddDays(1))).Rows;
        Assert.Equal([Noon.AddMinutes(2), Noon.AddMinutes(3)], left.Select(o => o.Run.ScheduledAt));
        Assert.Equal(Noon.AddMinutes(1), Assert.Single(await _state.Schedules.ListAsync(Cancel)).SettledUntil);
    }

    [Fact]
    public async Task A_definition_that_comes_back_starts_at_its_return()
    {
        await ObserveAsync("old", Noon.AddDays(-2));
        await ObserveAsync("new", Noon.AddDays(-1));
        await CompleteAsync(End(await ClaimedAsync(Claim(At(0), 5)), RunOutcome.Succeeded));
        await _state.Schedules.SettleAsync([new(new("settle", "nightly", "new"), Noon)], Cancel);
        // Behind the newest definition the rows may go, so an older one must not look there again.
        Assert.Equal(1, await _state.Runs.PruneAsync(Noon.AddDays(1), 100, Cancel));

        var back = await ObserveAsync("old", Noon.AddHours(1));
        Assert.Equal((Noon.AddHours(1), Noon.AddHours(1)), (back.Since, back.SettledUntil));

        // Now it is the newest: the next replica that has it changes nothing, and pruning goes by it.
        Assert.Equal(back, await ObserveAsync("old", Noon.AddHours(2)));
        await CompleteAsync(End(await ClaimedAsync(Claim(At(1), 6)), RunOutcome.Succeeded));
        Assert.Equal(1, await _state.Runs.PruneAsync(Noon.AddDays(1), 100, Cancel));
    }

    [Fact]
    public async Task Overlapped_occurrences_fill_gaps_only()
    {
        var run = await ClaimedAsync(Claim(At(0), 5));
        await _state.Runs.RecordOverlappedAsync([At(0), At(1)], Key, Noon, Cancel);
        var rows = (await RangeAsync(Noon.AddMinutes(-1), Noon.AddMinutes(1))).Rows;
        Assert.Equal([RunState.Running, RunState.Overlapped], rows.Select(o => o.Run.State));
        Assert.Equal(run.Id, (await RangeAsync(Noon.AddDays(1), Noon.AddDays(2))).Before!.Run.Id);
    }

    [Fact]
    public async Task Occurrences_of_a_range_come_with_the_earlier_ones_that_ran_in_it()
    {
        var late = await ClaimedAsync(Claim(At(0), 5));
        await CompleteAsync(End(late, RunOutcome.Succeeded, Noon.AddMinutes(8)));
        var early = await ClaimedAsync(Claim(At(1), 6));
        await CompleteAsync(End(early, RunOutcome.Succeeded, Noon.AddMinutes(2)));
        await ClaimedAsync(Claim(At(6), 7));

        var range = await RangeAsync(Noon.AddMinutes(5), Noon.AddMinutes(9));

        Assert.Equal([At(0).ScheduledAt, At(6).ScheduledAt], range.Rows.Select(o => o.Run.ScheduledAt));
        Assert.Equal(early.Id, range.Before!.Run.Id);
    }

    [Fact]
    public async Task Ranges_of_several_triggers_come_in_their_order_with_the_attempts_of_each()
    {
        var first = await ClaimedAsync(Claim(At(0, "b"), 5));
        await ClaimedAsync(Again(first.Id, 6));
        var second = await ClaimedAsync(Claim(At(1, "b"), 7));
        await CompleteAsync(End(second, RunOutcome.Succeeded, Noon.AddMinutes(1)));
        var other = await ClaimedAsync(Claim(At(0, "a"), 8));
        OccurrenceRange[] ranges =
        [
            new("settle", "b", Noon, Noon.AddMinutes(5)),
            new("settle", "none", Noon, Noon.AddMinutes(5)),
            new("settle", "a", Noon.AddMinutes(-1), Noon),
            // A row may be of several ranges, and both in one and before it.
            new("settle", "b", Noon.AddMinutes(1), Noon.AddMinutes(5)),
        ];

        var found = await _state.Runs.OccurrencesAsync(ranges, Cancel);

        Assert.Equal(
            [
                [second.Id],
                [],
                [other.Id],
                [second.Id],
            ],
            found.Select(f => f.Rows.Select(o => o.Run.Id))
        );
        Assert.Equal([first.Id, null, null, second.Id], found.Select(f => f.Before?.Run.Id));
        Assert.Equal([1, 2], found[0].Before!.Attempts.Select(a => a.Attempt));
        Assert.Equal(RunOutcome.Succeeded, Assert.Single(found[0].Rows[0].Attempts).Outcome);
        Assert.Empty(await _state.Runs.OccurrencesAsync([], Cancel));
    }

    [Fact]
    public async Task Many_definitions_are_observed_and_settled_at_once_by_several_replicas()
    {
        var other = await OpenAsync("a");
        ScheduleKey[] keys = [.. Enumerable.Range(0, 300).Select(i => new ScheduleKey($"job-{i}", "t", "f"))];
        ScheduleKey[] backwards = [.. keys.Reverse()];

        var seen = await Task.WhenAll(
            _state.Schedules.ObserveAsync(keys, Noon, Cancel).AsTask(),
            other.Schedules.ObserveAsync(backwards, Noon.AddMinutes(1), Cancel).AsTask()
        );

        Assert.Equal(keys.Select(k => k.Job), seen[0].Select(r => r.Job));
        Assert.Equal(seen[0], seen[1].Reverse());
        await Task.WhenAll(
            Enumerable
                .Range(0, 20)
                .Select(i =>
                    (i % 2 == 0 ? _state : other)
                        .Schedules.SettleAsync(
                            [.. (i % 2 == 0 ? keys : backwards).Select(k => new SettledSchedule(k, Noon.AddHours(i)))],
                            Cancel
                        )
                        .AsTask()
                )
        );
        Assert.All(await _state.Schedules.ListAsync(Cancel), r => Assert.Equal(Noon.AddHours(19), r.SettledUntil));
        await Assert.ThrowsAsync<ArgumentOutOfRangeException>(async () =>
            await _state.Schedules.ObserveAsync([.. Enumerable.Range(0, 501).Select(i => new ScheduleKey("j", $"{i}", "f"))], Noon, Cancel)
        );
    }

    private async Task<ScheduleRecord> ObserveAsync(string fingerprint, DateTimeOffset now) =>
        Assert.Single(await _state.Schedules.ObserveAsync([new("settle", "nightly", fingerprint)], now, Cancel));
}
