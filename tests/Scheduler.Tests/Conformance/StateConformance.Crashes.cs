using Scheduler.Runs;

namespace Scheduler.Tests.Conformance;

/// <summary>What counts as a crash: an attempt whose replica was gone without a word.</summary>
public abstract partial class StateConformance
{
    [Theory]
    [InlineData(OnCrash.RunAgain, 0)]
    [InlineData(OnCrash.Leave, 3)]
    public async Task A_lease_that_was_lost_is_no_crash(OnCrash onCrash, int max)
    {
        var run = await ClaimedAsync(Claim(At(0), 5));
        await TellAsync(run, RunEventKind.Lost);

        var second = await ClaimedAsync(Again(run.Id, 6, "r2", onCrash, max));
        Assert.Equal((2, 0, null), (second.Attempt, second.Crashes, second.Error));

        // Another attempt's loss says nothing of this one.
        var closed = Assert.IsType<ClaimResult.Closed>(await _state.Runs.ClaimAsync(Again(run.Id, 7, "r3", onCrash, max: 0), Cancel));
        Assert.Equal((RunState.Dead, 1), (closed.Run.State, closed.Run.Crashes));
    }

    [Theory]
    [InlineData(OnCrash.RunAgain, 0)]
    [InlineData(OnCrash.Leave, 3)]
    public async Task A_replica_that_was_stopping_did_not_crash(OnCrash onCrash, int max)
    {
        await BeatAsync("r1", "running");
        await BeatAsync("r2", "running");
        var (run, other) = (await ClaimedAsync(Claim(At(0), 5)), await ClaimedAsync(Claim(At(1), 6)));
        await BeatAsync("r1", "stopping");

        var second = await ClaimedAsync(Again(run.Id, 7, "r2", onCrash, max));
        Assert.Equal((2, 0, null), (second.Attempt, second.Crashes, second.Error));

        // The others go on.
        var closed = Assert.IsType<ClaimResult.Closed>(await _state.Runs.ClaimAsync(Again(run.Id, 8, "r3", onCrash, max: 0), Cancel));
        Assert.Equal((RunState.Dead, 1), (closed.Run.State, closed.Run.Crashes));
        await _state.Members.LeaveAsync("r1", Cancel);
        Assert.IsType<ClaimResult.Closed>(await _state.Runs.ClaimAsync(Again(other.Id, 9, "r3", onCrash, max: 0), Cancel));
    }

    [Fact]
    public async Task What_else_is_told_of_a_run_excuses_no_crash()
    {
        var run = await ClaimedAsync(Claim(At(0), 5));
        await TellAsync(run, RunEventKind.Log);
        await (await OpenAsync("b")).Members.HeartbeatAsync(Member("r1", "stopping"), Cancel);

        Assert.IsType<ClaimResult.Closed>(await _state.Runs.ClaimAsync(Again(run.Id, 6, max: 0), Cancel));
    }

    private ValueTask TellAsync(RunRecord run, RunEventKind kind) =>
        _state.Events.AddAsync([new RunEvent(run.Id, kind, Noon, run.Attempt, run.Token, run.Replica!, "why")], Cancel);
}
