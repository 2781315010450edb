using Scheduler.Runs;

namespace Scheduler.Tests.Conformance;

/// <summary>Replicas with different definitions of one trigger, and runs whose job nobody has.</summary>
public abstract partial class StateConformance
{
    private static readonly ScheduleKey Former = new("settle", "nightly", "former");
    private static readonly ScheduleKey Newer = new("settle", "nightly", "newer");
    private static readonly ScheduleKey Same = new("report", "nightly", "same");

    [Fact]
    public async Task A_definition_that_follows_one_of_a_living_replica_is_announced_and_both_are_contested()
    {
        await HoldAsync("r1", Former, Same);
        var first = await ObserveOneAsync(Former, Noon);
        await ObserveOneAsync(Same, Noon);
        Assert.Equal(Noon, first.Since);
        Assert.Empty(await _state.Schedules.ContestedAsync(Cancel));

        await HoldAsync("r2", Newer, Same);
        var second = await ObserveOneAsync(Newer, Noon.AddMinutes(1));

        Assert.Equal((Noon.AddSeconds(70), Noon.AddSeconds(70)), (second.Since, second.SettledUntil));
        Assert.Equal([first, second], await _state.Schedules.ContestedAsync(Cancel));
        Assert.Empty(await (await OpenAsync("b")).Schedules.ContestedAsync(Cancel));
    }

    [Fact]
    public async Task While_a_living_replica_has_a_newer_definition_a_former_one_does_not_come_back()
    {
        await HoldAsync("r1", Former);
        var first = await ObserveOneAsync(Former, Noon);
        await HoldAsync("r2", Newer);
        await ObserveOneAsync(Newer, Noon.AddMinutes(1));

        // The replica with the former one crashes and starts again.
        await HoldAsync("r3", Former);
        Assert.Equal(first, await ObserveOneAsync(Former, Noon.AddMinutes(2)));

        // Those with the newer one go.
        await _state.Members.LeaveAsync("r2", Cancel);
        Assert.Empty(await _state.Schedules.ContestedAsync(Cancel));
        var back = await ObserveOneAsync(Former, Noon.AddMinutes(3));
        Assert.Equal((Noon.AddMinutes(3), Noon.AddMinutes(3)), (back.Since, back.SettledUntil));
    }

    [Fact]
    public async Task Replicas_that_stop_or_are_silent_hold_nothing()
    {
        await HoldAsync("r1", Former);
        await ObserveOneAsync(Former, Noon);
        await BeatAsync("r1", "stopping");
        Assert.Equal(Noon.AddMinutes(1), (await ObserveOneAsync(Newer, Noon.AddMinutes(1))).Since);

        await HoldAsync("r2", Newer);
        await BeatAsync("r1", "running");
        Assert.Equal(2, (await _state.Schedules.ContestedAsync(Cancel)).Count);
        await _fixture.AgeAsync(TimeSpan.FromSeconds(7));
        Assert.Empty(await _state.Schedules.ContestedAsync(Cancel));
        await BeatAsync("r2", "running");
        Assert.Empty(await _state.Schedules.ContestedAsync(Cancel));
    }

    [Fact]
    public async Task A_replica_may_have_many_definitions_and_say_so_again()
    {
        ScheduleKey[] many = [.. Enumerable.Range(0, 1_200).Select(i => new ScheduleKey("many", $"{i}", "f"))];
        await HoldAsync("r1", many);
        await HoldAsync("r1", many);
        await HoldAsync("r2", [.. many[..^1], many[^1] with { Fingerprint = "other" }]);
        await _state.Schedules.ObserveAsync([many[^1]], Noon, Cancel);
        await _state.Schedules.ObserveAsync([many[^1] with { Fingerprint = "other" }], Noon, Cancel);

        var contested = await _state.Schedules.ContestedAsync(Cancel);
        Assert.Equal([("1199", "f"), ("1199", "other")], contested.Select(c => (c.Trigger, c.Fingerprint)).Order());
    }

    [Fact]
    public async Task A_run_whose_job_nobody_has_is_orphaned_and_claimed_by_whoever_has_it()
    {
        var request = await RequestedAsync(new RunRequest("settle", Key, null, Noon));
        var running = await ClaimedAsync(Claim(At(0), 5));
        Assert.True(await _state.Runs.OrphanAsync(request.Id, request.Token, Cancel));
        Assert.False(await _state.Runs.OrphanAsync(running.Id, new(4), Cancel));
        Assert.True(await _state.Runs.OrphanAsync(running.Id, running.Token, Cancel));
        Assert.False(await _state.Runs.OrphanAsync("none", running.Token, Cancel));

        Assert.All(await OpenRunsAsync(), r => Assert.Equal(RunState.Orphaned, r.State));
        Assert.Equal(CompletionResult.Refused, await CompleteAsync(End(running, RunOutcome.Succeeded)));
        await CompleteAsync(End(await ClaimedAsync(Again(running.Id, 6)), RunOutcome.Succeeded));
        Assert.Equal(1, (await ClaimedAsync(Again(request.Id, 7))).Attempt);
        Assert.False(await _state.Runs.OrphanAsync(running.Id, new(6), Cancel));
    }

    private async Task HoldAsync(string replica, params ScheduleKey[] definitions)
    {
        await BeatAsync(replica, "running");
        await _state.Schedules.HoldAsync(replica, definitions, Noon, Cancel);
    }

    private async Task BeatAsync(string replica, string status) => await _state.Members.HeartbeatAsync(Member(replica, status), Cancel);

    private static MemberRecord Member(string replica, string status) =>
        new()
        {
            Id = replica,
            Name = replica,
            StartedAt = Noon,
            WallClock = Noon,
            BootClock = TimeSpan.Zero,
            Status = status,
        };

    private async Task<ScheduleRecord> ObserveOneAsync(ScheduleKey definition, DateTimeOffset now) =>
        Assert.Single(await _state.Schedules.ObserveAsync([definition], now, Cancel));
}
