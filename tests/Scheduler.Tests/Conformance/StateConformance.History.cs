using Scheduler.Locking;
using Scheduler.Runs;

namespace Scheduler.Tests.Conformance;

// What people ask of the history, however long it is.
public abstract partial class StateConformance
{
    private static readonly RunState[] Written = [.. Enum.GetValues<RunState>().Where(s => s != RunState.Orphaned)];

    [Fact]
    public async Task Lists_show_exactly_what_their_filters_ask_for_in_pages_of_any_size()
    {
        await FillHistoryAsync();
        var all = (await _state.Runs.ListAsync(new RunQuery(Limit: 1_000), Cancel)).Items;
        Assert.Equal(Written, all.Select(r => r.State).Distinct().Order());
        Assert.Equal(all.OrderByDescending(r => r.ScheduledAt).ThenByDescending(r => r.Id, StringComparer.Ordinal), all);

        var (found, asked) = (0, 0);
        // A part of all combinations, in which each value of each filter meets each of the others.
        foreach (var query in HistoryQueries().Where((_, i) => i % 5 == 0))
        {
            string[] expected = [.. all.Where(r => Matches(r, query)).Select(r => r.Id)];
            Assert.Equal(expected, (await PagesAsync(query)).Select(r => r.Id));
            (found, asked) = (found + expected.Length, asked + 1);
        }
        Assert.True(asked > 100 && found > 100, $"{found} of {asked}");
    }

    [Fact]
    public async Task A_page_ends_after_5000_rows_that_do_not_match_and_says_where_to_go_on()
    {
        var old = await ClaimedAsync(Claim(At(-1), 5, "old-one"));
        await CompleteAsync(End(old, RunOutcome.Succeeded));
        var open = await ClaimedAsync(Claim(At(-2), 6, "other"));
        var newer = Enumerable.Range(0, 5_000).Select(i => At(i)).ToList();
        await _state.Runs.RecordOverlappedAsync(newer, Key, Noon, Cancel);

        // For what is rare there is an order of its own.
        Assert.Equal(open.Id, Assert.Single((await _state.Runs.ListAsync(new RunQuery(State: RunState.Running), Cancel)).Items).Id);
        Assert.Equal(100, (await _state.Runs.ListAsync(new RunQuery(State: RunState.Overlapped), Cancel)).Items.Count);
        foreach (
            var query in (RunQuery[])
                [new(State: RunState.Succeeded), new("settle", RunState.Succeeded), new() { Replica = "old-one" }, new() { Trigger = "no" }]
        )
        {
            var first = await _state.Runs.ListAsync(query, Cancel);
            Assert.Empty(first.Items);
            var second = await _state.Runs.ListAsync(query with { Cursor = first.Next }, Cancel);
            Assert.Equal(query.Trigger is null ? [old.Id] : [], second.Items.Select(r => r.Id));
            Assert.Null(second.Next);
        }
    }

    [Fact]
    public async Task What_was_dead_and_is_asked_for_again_is_in_the_list_of_its_new_state_alone()
    {
        var failed = await ClaimedAsync(Claim(At(0), 5));
        await CompleteAsync(End(failed, RunOutcome.Failed));
        var crashed = await ClaimedAsync(Claim(At(1), 6));
        await _state.Runs.ClaimAsync(Again(crashed.Id, 7, onCrash: OnCrash.Leave), Cancel);
        await _state.Runs.RecordOverlappedAsync([At(2)], Key, Noon, Cancel);

        Assert.Equal([failed.Id], (await PagesAsync(new RunQuery(State: RunState.Failed))).Select(r => r.Id));
        Assert.Equal([crashed.Id], (await PagesAsync(new RunQuery("settle", RunState.Dead))).Select(r => r.Id));
        await ObserveAsync("f", Noon.AddMinutes(-1));
        await _state.Schedules.SettleAsync([new(new("settle", "nightly", "f"), Noon.AddDays(1))], Cancel);
        Assert.Equal(3, await _state.Runs.PruneAsync(Noon.AddDays(1), 100, Cancel));

        foreach (var state in Enum.GetValues<RunState>())
        {
            Assert.Empty(await PagesAsync(new RunQuery(State: state)));
        }
    }

    [Fact]
    public async Task A_cursor_of_something_else_is_refused()
    {
        foreach (var cursor in (string[])["", "x", "_x", "12", "99999999999999999_x", "-99999999999999999_x"])
        {
            await Assert.ThrowsAsync<ArgumentException>(async () => await _state.Runs.ListAsync(new RunQuery(Cursor: cursor), Cancel));
        }
    }

    private async Task FillHistoryAsync()
    {
        var token = 10;
        for (var i = 0; i < 120; i++)
        {
            // Several at the same time, and each state with each trigger, job and replica.
            var (job, trigger, replica) = ($"j{i % 2}", $"t{i / 2 % 2}", $"r{i / 4 % 3}");
            var key = LockKey.From($"k:{job}");
            var at = new Occurrence(job, trigger, Noon.AddMinutes(i / 6));
            switch (Written[i % Written.Length])
            {
                case RunState.Overlapped:
                    await _state.Runs.RecordOverlappedAsync([at], key, Noon, Cancel);
                    break;
                case RunState.Waiting:
                    await _state.Runs.RequestAsync(new RunRequest(job, key, null, at.ScheduledAt), Cancel);
                    break;
                case var state:
                    if (await _state.Runs.ClaimAsync(Claim(at, ++token, replica, key), Cancel) is ClaimResult.Claimed { Run: var run })
                    {
                        await EndAsync(run, state, key, ++token);
                    }
                    break;
            }
        }
    }

    private async Task EndAsync(RunRecord run, RunState state, LockKey key, long token)
    {
        if (state == RunState.Dead)
        {
            await _state.Runs.ClaimAsync(Again(run.Id, token, onCrash: OnCrash.Leave) with { LockKey = key }, Cancel);
        }
        else if (state != RunState.Running)
        {
            var outcome = state == RunState.Interrupted ? RunOutcome.Interrupted : Enum.Parse<RunOutcome>(state.ToString());
            Assert.Equal(CompletionResult.Accepted, await CompleteAsync(End(run, outcome)));
        }
    }

    private static IEnumerable<RunQuery> HistoryQueries() =>
        from job in (string?[])[null, "j0"]
        from state in (RunState?[])[null, .. Enum.GetValues<RunState>()]
        from trigger in (string?[])[null, "t1", RunRecord.ManualTrigger]
        from replica in (string?[])[null, "r1"]
        from key in (LockKey?[])[null, LockKey.From("k:j0")]
        from @from in (DateTimeOffset?[])[null, Noon.AddMinutes(5)]
        from to in (DateTimeOffset?[])[null, Noon.AddMinutes(12).AddTicks(1)]
        select new RunQuery(job, state, Limit: 7)
        {
            Trigger = trigger,
            Replica = replica,
            LockKey = key,
            From = @from,
            To = to,
        };

    private static bool Matches(RunRecord run, RunQuery query) =>
        (query.Job is null || query.Job == run.Job)
        && (query.State is null || query.State == run.State)
        && (query.Trigger is null || query.Trigger == run.Trigger)
        && (query.Replica is null || query.Replica == run.Replica)
        && (query.LockKey is null || query.LockKey == run.LockKey)
        && (query.From is null || run.ScheduledAt >= query.From)
        && (query.To is null || run.ScheduledAt < query.To);

    private async Task<List<RunRecord>> PagesAsync(RunQuery query)
    {
        var seen = new List<RunRecord>();
        for (string? cursor = null; ; )
        {
            var page = await _state.Runs.ListAsync(query with { Cursor = cursor }, Cancel);
            Assert.True(page.Items.Count <= query.Limit);
            seen.AddRange(page.Items);
            if ((cursor = page.Next) is null)
            {
                return seen;
            }
        }
    }
}
