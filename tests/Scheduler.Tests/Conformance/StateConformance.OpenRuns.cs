using Scheduler.Locking;
using Scheduler.Runs;

namespace Scheduler.Tests.Conformance;

/// <summary>What a look at the open runs shows, whatever else is open.</summary>
public abstract partial class StateConformance
{
    private const int Many = 1_001;

    [Fact]
    public async Task However_many_wait_or_are_orphaned_a_run_whose_replica_died_is_found_and_taken_over()
    {
        await ManyAsync(async i =>
        {
            var request = await RequestedAsync(new RunRequest($"gone{i % 2}", LockKey.From($"gone:{i}"), null, Noon.AddDays(-1)));
            Assert.True(await _state.Runs.OrphanAsync(request.Id, request.Token, Cancel));
        });
        await ManyAsync(async i =>
        {
            var key = LockKey.From($"later:{i}");
            var failed = await ClaimedAsync(Claim(new Occurrence("later", "t", Noon.AddMinutes(-i - 1)), 5, key: key));
            await CompleteAsync(End(failed, RunOutcome.FailedWillRetry));
        });
        await ManyAsync(i => RequestedAsync(new RunRequest($"asked{i % 2}", LockKey.From("asked"), null, Noon.AddMilliseconds(-i))));
        var last = LockKey.From("last");
        var dead = await ClaimedAsync(Claim(new Occurrence("last", "t", Noon), 5, key: last));
        var asked = await RequestedAsync(new RunRequest("last", last, null, Noon.AddSeconds(1)));

        // One look.
        var looks = await LooksAsync(new OpenRunsQuery(Noon.AddSeconds(5)), most: 1);

        Assert.Equal(dead.Id, Assert.Single(looks, r => r.State == RunState.Running).Id);
        Assert.Equal(1_000, looks.Count(r => r.State == RunState.Orphaned));
        Assert.Single(looks, r => r.LockKey.Value == "asked");
        Assert.DoesNotContain(looks, r => r.Job == "later");
        var taken = await ClaimedAsync(Again(dead.Id, 6) with { LockKey = last });
        Assert.Equal((2, 1, RunState.Running), (taken.Attempt, taken.Crashes, taken.State));

        // The next one: the request behind all of them, and the last of the orphaned ones.
        looks = await LooksAsync(new OpenRunsQuery(Noon.AddSeconds(5)), most: 2);
        Assert.Single(looks, r => r.Id == asked.Id);
        Assert.Equal(Many, looks.Where(r => r.State == RunState.Orphaned).DistinctBy(r => r.Id).Count());
    }

    [Theory]
    [InlineData(1)]
    [InlineData(3)]
    [InlineData(1_000)]
    public async Task The_first_under_each_key_is_shown_in_the_order_in_which_they_are_due(int limit)
    {
        // Five of each key and kind, the keys in turn.
        var asked = new List<RunRecord>();
        for (var i = 0; i < 20; i++)
        {
            var request = new RunRequest("settle", LockKey.From($"k{i % 4}"), null, Noon.AddMilliseconds(i));
            asked.Add(await RequestedAsync(request));
            var orphan = await RequestedAsync(request with { RequestedAt = Noon.AddHours(-1).AddMilliseconds(i) });
            Assert.True(await _state.Runs.OrphanAsync(orphan.Id, orphan.Token, Cancel));
        }

        var seen = await LooksAsync(new OpenRunsQuery(Noon.AddSeconds(5), Limit: limit), most: 100);

        Assert.Equal(asked.Take(4).Select(r => r.Id), seen.Where(r => r.State == RunState.Waiting).Select(r => r.Id));
        Assert.Equal(["k0", "k1", "k2", "k3"], seen.Where(r => r.State == RunState.Orphaned).Select(r => r.LockKey.Value));

        // The first one begins and ends: the next under its key is.
        var run = await ClaimedAsync(Again(asked[0].Id, 5) with { LockKey = asked[0].LockKey });
        Assert.DoesNotContain(
            asked[0].Id,
            (await LooksAsync(new OpenRunsQuery(Noon, Limit: limit), 100)).Where(NotRunning).Select(r => r.Id)
        );
        await CompleteAsync(End(run, RunOutcome.Interrupted));
        Assert.Contains(asked[0].Id, (await LooksAsync(new OpenRunsQuery(Noon, Limit: limit), 100)).Select(r => r.Id));
        await CompleteAsync(End(await ClaimedAsync(Again(run.Id, 6) with { LockKey = run.LockKey }), RunOutcome.Succeeded));
        var rest = await LooksAsync(new OpenRunsQuery(Noon.AddSeconds(5), Limit: limit), 100);
        Assert.Equal([1, 2, 3, 4], rest.Where(r => r.State == RunState.Waiting).Select(r => asked.FindIndex(a => a.Id == r.Id)));

        static bool NotRunning(RunRecord run) => run.State != RunState.Running;
    }

    [Fact]
    public async Task What_waits_for_its_time_is_shown_when_that_comes_near_and_keeps_nothing_else_from_its_key()
    {
        var failed = await ClaimedAsync(Claim(At(0), 5));
        await CompleteAsync(End(failed, RunOutcome.FailedWillRetry));
        var due = Noon.AddMinutes(5);
        Assert.Empty(await LooksAsync(new OpenRunsQuery(due.AddMilliseconds(-1)), 1));
        Assert.Equal(failed.Id, Assert.Single(await LooksAsync(new OpenRunsQuery(due), 1)).Id);

        var asked = await RequestedAsync(new RunRequest("settle", Key, null, Noon.AddMinutes(1)));
        Assert.Equal(asked.Id, Assert.Single(await LooksAsync(new OpenRunsQuery(due), 1)).Id);
        await _state.Runs.ReopenAsync(failed.Id, Cancel);
        Assert.Equal(failed.Id, Assert.Single(await LooksAsync(new OpenRunsQuery(Noon.AddMinutes(1)), 1)).Id);
    }

    [Fact]
    public async Task A_place_of_another_list_is_refused()
    {
        foreach (var cursor in (string[])["", "x", "1_a", "1_a/x", "1_a/2_b/"])
        {
            await Assert.ThrowsAsync<ArgumentException>(() => LooksAsync(new OpenRunsQuery(Noon, cursor), 1));
        }
        await Assert.ThrowsAsync<ArgumentOutOfRangeException>(() => LooksAsync(new OpenRunsQuery(Noon, Limit: 1_001), 1));
    }

    [Fact]
    public async Task One_occurrence_of_a_trigger_waits_for_its_key()
    {
        await _state.Runs.RecordWaitingAsync(At(0), Key, null, Noon, Cancel);
        await _state.Runs.RecordWaitingAsync(At(1), Key, null, Noon.AddMinutes(1), Cancel);
        await _state.Runs.RecordWaitingAsync(At(1, "often"), Key, null, Noon.AddMinutes(1), Cancel);
        await _state.Runs.RecordWaitingAsync(At(2), LockKey.From("other"), null, Noon.AddMinutes(2), Cancel);

        var rows = (await _state.Runs.ListAsync(new RunQuery(), Cancel)).Items;
        Assert.Equal(
            [(At(2), "other"), (At(1, "often"), Key.Value), (At(0), Key.Value)],
            rows.Select(r => (new Occurrence(r.Job, r.Trigger, r.ScheduledAt), r.LockKey.Value))
        );
    }

    [Fact]
    public async Task A_job_has_so_many_runs_that_were_asked_for_and_no_more()
    {
        await ManyAsync(
            i => RequestedAsync(new RunRequest("settle", LockKey.From($"k{i}"), null, Noon, i == 0 ? "first" : null, i == 0 ? "a" : null)),
            IRunLedger.MostRequested
        );
        var one = new RunRequest("settle", Key, null, Noon, "first", "a");

        Assert.IsType<RequestResult.Full>(await _state.Runs.RequestAsync(one with { RequestKey = "next" }, Cancel));
        Assert.IsType<RequestResult.Full>(await _state.Runs.RequestAsync(one with { RequestKey = null }, Cancel));
        var first = await RequestedAsync(one);
        Assert.Equal("k0", first.LockKey.Value);
        Assert.Equal(1_000, (await _state.Runs.ListAsync(new RunQuery(Limit: 1_000), Cancel)).Items.Count);
        await RequestedAsync(one with { Job = "report" });

        var run = await ClaimedAsync(Again(first.Id, 5) with { LockKey = first.LockKey });
        Assert.IsType<RequestResult.Full>(await _state.Runs.RequestAsync(one with { RequestKey = "next" }, Cancel));
        await CompleteAsync(End(run, RunOutcome.Succeeded));
        await RequestedAsync(one with { RequestKey = "next" });
        Assert.IsType<RequestResult.Full>(await _state.Runs.RequestAsync(one with { RequestKey = "last" }, Cancel));
    }

    [Fact]
    public async Task A_repeated_request_is_compared_by_what_it_said()
    {
        var request = new RunRequest("settle", Key, """{"own":"1","a":"b"}""", Noon, "once", """{"a":"b"}""");
        var run = await RequestedAsync(request);

        // The job's own data have changed since.
        Assert.Equal(run, await RequestedAsync(request with { Data = """{"own":"2","a":"b"}""" }));
        Assert.Equal(run, Assert.IsType<RequestResult.Recorded>(await FindAsync("once", """{"a":"b"}""")).Run);
        var reused = await _state.Runs.RequestAsync(request with { RequestData = "{}" }, Cancel);
        Assert.Equal(run, Assert.IsType<RequestResult.KeyReused>(reused).Run);
        Assert.Equal(run, Assert.IsType<RequestResult.KeyReused>(await FindAsync("once", "{}")).Run);
        Assert.Null(await FindAsync("twice", "{}"));
        Assert.Null(await (await OpenAsync("b")).Runs.FindRequestAsync("settle", "once", "{}", Cancel));
        Assert.Single((await _state.Runs.ListAsync(new RunQuery(), Cancel)).Items);

        ValueTask<RequestResult?> FindAsync(string key, string said) => _state.Runs.FindRequestAsync("settle", key, said, Cancel);
    }

    // What successive looks show, each run of one kind under one key once, in the order in which it is seen.
    private async Task<List<RunRecord>> LooksAsync(OpenRunsQuery query, int most)
    {
        var seen = new List<RunRecord>();
        // A list that is through begins anew while the other one goes on.
        for (var i = 0; i < most; i++)
        {
            var page = await _state.Runs.OpenRunsAsync(query, Cancel);
            seen.AddRange(page.Items);
            if (page.Next is null)
            {
                break;
            }
            query = query with { Cursor = page.Next };
        }
        return [.. seen.DistinctBy(r => r.Id)];
    }

    // As many at once as a replica has calls.
    private static async Task ManyAsync(Func<int, Task> act, int count = Many)
    {
        for (var begin = 0; begin < count; begin += 50)
        {
            await Task.WhenAll(Enumerable.Range(begin, Math.Min(50, count - begin)).Select(act));
        }
    }
}
