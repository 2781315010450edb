using Scheduler.Locking;
using Scheduler.Runs;

namespace Scheduler.Tests.Conformance;

/// <summary>What every State promises; a State adds only a fixture.</summary>
public abstract partial class StateConformance : IAsyncLifetime
{
    private static readonly DateTimeOffset Noon = new(2026, 1, 31, 12, 0, 0, TimeSpan.Zero);
    private static readonly LockKey Key = LockKey.From("job:settle");
    private readonly List<IState> _states = [];
    private StateFixture _fixture = null!;
    private IState _state = null!;

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    protected abstract StateFixture NewFixture();

    public async ValueTask InitializeAsync()
    {
        _fixture = NewFixture();
        await _fixture.StartAsync();
        _state = await OpenAsync("a");
    }

    public async ValueTask DisposeAsync()
    {
        foreach (var state in _states)
        {
            await state.DisposeAsync();
        }
        await _fixture.DisposeAsync();
        GC.SuppressFinalize(this);
    }

    private async Task<IState> OpenAsync(string group)
    {
        var state = _fixture.Make(group);
        _states.Add(state);
        await state.OpenAsync(Cancel);
        return state;
    }

    private static Occurrence At(int minute, string trigger = "nightly") => new("settle", trigger, Noon.AddMinutes(minute));

    private static ClaimRequest Claim(Occurrence occurrence, long token, string replica = "r1", LockKey? key = null) =>
        new()
        {
            Occurrence = occurrence,
            LockKey = key ?? Key,
            Token = new FencingToken(token),
            Replica = replica,
            Now = Noon,
        };

    private static ClaimRequest Again(string id, long token, string replica = "r2", OnCrash onCrash = OnCrash.RunAgain, int max = 3) =>
        new()
        {
            RunId = id,
            LockKey = Key,
            Token = new FencingToken(token),
            Replica = replica,
            Now = Noon,
            OnCrash = onCrash,
            MaxCrashes = max,
        };

    private static Completion End(RunRecord run, RunOutcome outcome, DateTimeOffset? now = null, string? error = null) =>
        new()
        {
            RunId = run.Id,
            Attempt = run.Attempt,
            Token = run.Token,
            Outcome = outcome,
            Error = error,
            Now = now ?? Noon.AddSeconds(1),
            NextAttemptAt = outcome == RunOutcome.FailedWillRetry ? Noon.AddMinutes(5) : null,
        };

    private async Task<RunRecord> ClaimedAsync(ClaimRequest request) =>
        Assert.IsType<ClaimResult.Claimed>(await _state.Runs.ClaimAsync(request, Cancel)).Run;

    private async Task<RunRecord> RequestedAsync(RunRequest request) =>
        Assert.IsType<RequestResult.Recorded>(await _state.Runs.RequestAsync(request, Cancel)).Run;

    // At the first look, as of a time at which all is due.
    private async Task<IReadOnlyList<RunRecord>> OpenRunsAsync() =>
        (await _state.Runs.OpenRunsAsync(new OpenRunsQuery(Noon.AddHours(1)), Cancel)).Items;

    private Task<CompletionResult> CompleteAsync(Completion completion) => _state.Runs.CompleteAsync(completion, Cancel).AsTask();

    [Fact]
    public async Task Of_64_claimers_of_one_occurrence_one_wins()
    {
        var results = await Task.WhenAll(
            Enumerable.Range(1, 64).Select(i => _state.Runs.ClaimAsync(Claim(At(0), 7, $"r{i}"), Cancel).AsTask())
        );
        Assert.Single(results.OfType<ClaimResult.Claimed>());
        Assert.Equal(63, results.OfType<ClaimResult.Recorded>().Count());
    }

    [Fact]
    public async Task Two_States_under_load_have_no_errors_and_claim_each_occurrence_once()
    {
        var other = await OpenAsync("a");
        var results = await Task.WhenAll(
            Enumerable
                .Range(0, 400)
                .Select(i =>
                    (i % 2 == 0 ? _state : other).Runs.ClaimAsync(Claim(At(i / 2), 1, $"r{i}", LockKey.From($"k:{i / 2}")), Cancel).AsTask()
                )
        );
        Assert.Equal(200, results.OfType<ClaimResult.Claimed>().Select(c => c.Run.ScheduledAt).Distinct().Count());
        Assert.Equal(200, results.OfType<ClaimResult.Recorded>().Count());
    }

    [Fact]
    public async Task A_smaller_token_is_stale_and_changes_nothing()
    {
        await ClaimedAsync(Claim(At(0), 9));
        var stale = Assert.IsType<ClaimResult.Stale>(await _state.Runs.ClaimAsync(Claim(At(1), 8), Cancel));
        Assert.Equal(new FencingToken(9), stale.Newest);
        Assert.Empty((await RangeAsync(Noon, Noon.AddDays(1))).Rows);
    }

    [Fact]
    public async Task A_claim_whose_answer_was_lost_is_claimed_again_once()
    {
        var first = await ClaimedAsync(Claim(At(0), 5));
        Assert.Equal(first, await ClaimedAsync(Claim(At(0), 5)));
        Assert.Equal(first, await ClaimedAsync(Again(first.Id, 5, "r1")));
        Assert.IsType<ClaimResult.Recorded>(await _state.Runs.ClaimAsync(Claim(At(0), 5, "other"), Cancel));
        Assert.Single((await _state.Runs.FindAsync(first.Id, Cancel))!.Attempts);
    }

    [Fact]
    public async Task The_end_tells_when_the_body_began()
    {
        // A claim may have waited for State: what came due meanwhile was not overlapped.
        var waited = await ClaimedAsync(Claim(At(0), 5));
        await CompleteAsync(End(waited, RunOutcome.Succeeded, Noon.AddSeconds(9)) with { StartedAt = Noon.AddSeconds(8) });
        var found = (await _state.Runs.FindAsync(waited.Id, Cancel))!;
        Assert.Equal(Noon.AddSeconds(8), found.Run.StartedAt);
        Assert.Equal(Noon.AddSeconds(8), Assert.Single(found.Attempts).StartedAt);

        var none = await ClaimedAsync(Claim(At(1), 6));
        await CompleteAsync(End(none, RunOutcome.Interrupted, Noon.AddSeconds(9)));
        Assert.Equal(Noon, (await _state.Runs.FindAsync(none.Id, Cancel))!.Run.StartedAt);
    }

    [Fact]
    public async Task A_take_over_counts_a_crash_and_refuses_the_old_attempt()
    {
        var old = await ClaimedAsync(Claim(At(0), 5));
        var taken = await ClaimedAsync(Again(old.Id, 6));
        Assert.Equal((2, 1, "r2", RunState.Running), (taken.Attempt, taken.Crashes, taken.Replica, taken.State));
        Assert.Equal(CompletionResult.Refused, await CompleteAsync(End(old, RunOutcome.Succeeded)));
        Assert.Equal(CompletionResult.Accepted, await CompleteAsync(End(taken, RunOutcome.Succeeded)));
        Assert.Equal(CompletionResult.Accepted, await CompleteAsync(End(taken, RunOutcome.Succeeded)));
        Assert.Equal(CompletionResult.Refused, await CompleteAsync(End(taken, RunOutcome.Failed)));
        var found = (await _state.Runs.FindAsync(old.Id, Cancel))!;
        Assert.Equal(RunState.Succeeded, found.Run.State);
        Assert.Equal([null, RunOutcome.Succeeded], found.Attempts.Select(a => a.Outcome));
        Assert.IsType<ClaimResult.Recorded>(await _state.Runs.ClaimAsync(Again(old.Id, 7), Cancel));
    }

    [Theory]
    [InlineData(OnCrash.Leave, 3)]
    [InlineData(OnCrash.RunAgain, 0)]
    public async Task A_crash_too_many_closes_the_run(OnCrash onCrash, int max)
    {
        var run = await ClaimedAsync(Claim(At(0), 5));
        var closed = Assert.IsType<ClaimResult.Closed>(await _state.Runs.ClaimAsync(Again(run.Id, 6, onCrash: onCrash, max: max), Cancel));
        Assert.Equal((RunState.Dead, 1, 1), (closed.Run.State, closed.Run.Crashes, closed.Run.Attempt));
        Assert.NotNull(closed.Run.Error);
    }

    [Fact]
    public async Task A_retry_waits_for_its_time_and_long_errors_are_cut()
    {
        var run = await ClaimedAsync(Claim(At(0), 5));
        await CompleteAsync(End(run, RunOutcome.FailedWillRetry, error: new string('x', 5_000)));
        var early = Assert.IsType<ClaimResult.Recorded>(await _state.Runs.ClaimAsync(Again(run.Id, 6), Cancel));
        Assert.Equal((RunState.Waiting, 1, 4_000), (early.Run.State, early.Run.Failures, early.Run.Error!.Length));
        var next = await ClaimedAsync(Again(run.Id, 7) with { Now = Noon.AddMinutes(5) });
        Assert.Equal((2, 0, null, null), (next.Attempt, next.Crashes, next.Error, next.NextAttemptAt));
        await CompleteAsync(End(next, RunOutcome.Interrupted));
        Assert.Equal(3, (await ClaimedAsync(Again(run.Id, 8))).Attempt);
    }

    [Fact]
    public async Task A_request_is_idempotent_by_its_key_and_open_until_it_ends()
    {
        var request = new RunRequest("settle", Key, """{"a":"b"}""", Noon, "once");
        var run = await RequestedAsync(request);
        Assert.Equal(run, await RequestedAsync(request with { RequestedAt = Noon.AddHours(1) }));
        Assert.NotEqual(run.Id, (await RequestedAsync(request with { RequestKey = null, RequestedAt = Noon.AddMinutes(1) })).Id);
        Assert.Equal(run.Id, Assert.Single(await OpenRunsAsync()).Id);
        await CompleteAsync(End(await ClaimedAsync(Again(run.Id, 5)), RunOutcome.Failed));
        Assert.NotEqual(run.Id, Assert.Single(await OpenRunsAsync()).Id);
    }

    [Fact]
    public async Task Pages_show_every_run_once_newest_first()
    {
        for (var i = 0; i < 5; i++)
        {
            await ClaimedAsync(Claim(At(i / 2, $"t{i}"), 5));
        }
        var (seen, cursor) = (new List<RunRecord>(), (string?)null);
        do
        {
            var page = await _state.Runs.ListAsync(new RunQuery(Limit: 2, Cursor: cursor), Cancel);
            seen.AddRange(page.Items);
            cursor = page.Next;
        } while (cursor is not null);
        Assert.Equal(5, seen.DistinctBy(r => r.Id).Count());
        Assert.Equal(seen.OrderByDescending(r => r.ScheduledAt).Select(r => r.ScheduledAt), seen.Select(r => r.ScheduledAt));
    }

    [Fact]
    public async Task Two_groups_never_meet()
    {
        var other = await OpenAsync("b");
        var run = await ClaimedAsync(Claim(At(0), 9));
        Assert.IsType<ClaimResult.Claimed>(await other.Runs.ClaimAsync(Claim(At(0), 1), Cancel));
        Assert.Null(await other.Runs.FindAsync(run.Id, Cancel));
        Assert.IsType<ClaimResult.Unknown>(await other.Runs.ClaimAsync(Again(run.Id, 10), Cancel));
        await _state.Pair.PairAsync(new PairRequest("store", "replica", TimeSpan.Zero, LeastGeneration: 0, IsKept: true), Cancel);
        Assert.Equal("store", await _state.Pair.RecallAsync(Cancel));
        Assert.Null(await other.Pair.RecallAsync(Cancel));
        Assert.Equal(await _state.Pair.IdAsync(Cancel), await other.Pair.IdAsync(Cancel));
    }

    [Fact]
    public async Task A_newer_schema_is_refused_only_when_it_says_so()
    {
        await _fixture.SetSchemaAsync(versionAbove: 1, minReaderAbove: 0);
        await OpenAsync("a");
        await _fixture.SetSchemaAsync(versionAbove: 2, minReaderAbove: 1);
        var refused = await Assert.ThrowsAsync<StateUnavailableException>(() => OpenAsync("a"));
        Assert.True(refused.IsPermanent);
    }

    private async Task<RecordedRange> RangeAsync(DateTimeOffset after, DateTimeOffset until) =>
        Assert.Single(await _state.Runs.OccurrencesAsync([new("settle", "nightly", after, until)], Cancel));
}
