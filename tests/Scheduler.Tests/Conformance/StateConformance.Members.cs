using Scheduler.Runs;

namespace Scheduler.Tests.Conformance;

// What replicas tell each other.
public abstract partial class StateConformance
{
    [Fact]
    public async Task Members_age_and_leave()
    {
        var member = new MemberRecord
        {
            Id = "r1",
            Name = "r",
            StartedAt = Noon,
            WallClock = Noon,
            BootClock = TimeSpan.FromSeconds(7),
            Jobs = ["settle"],
        };
        await _state.Members.HeartbeatAsync(member, Cancel);
        await _fixture.AgeAsync(TimeSpan.FromSeconds(3));
        var seen = Assert.Single((await _state.Members.ListAsync(TimeSpan.FromSeconds(20), Cancel)).Items);
        // A server's clock goes on while the test runs.
        Assert.InRange(seen.Age, TimeSpan.FromSeconds(3), TimeSpan.FromSeconds(10));
        Assert.Equal((member.BootClock, "settle"), (seen.BootClock, Assert.Single(seen.Jobs)));
        Assert.Empty((await _state.Members.ListAsync(TimeSpan.FromSeconds(3), Cancel)).Items);
        await _state.Members.LeaveAsync("r1", Cancel);
        var empty = await _state.Members.ListAsync(TimeSpan.FromDays(1), Cancel);
        Assert.Empty(empty.Items);
        // A server has the clock of its own, this machine's.
        Assert.InRange((empty.Now - _fixture.StateClock).Duration(), TimeSpan.Zero, TimeSpan.FromSeconds(5));
    }

    [Fact]
    public async Task A_heartbeat_that_lists_writes_and_shows_the_others()
    {
        var other = await OpenAsync("a");
        MemberRecord[] members =
        [
            .. ((string[])["r1", "r2"]).Select(id => new MemberRecord
            {
                Id = id,
                Name = id,
                StartedAt = Noon,
                WallClock = Noon,
                BootClock = TimeSpan.FromSeconds(7),
                Jobs = ["settle", $"of-{id}"],
            }),
        ];
        await _state.Members.HeartbeatAndListAsync(members[0], TimeSpan.FromSeconds(20), Cancel);
        var seen = await OthersAsync();
        Assert.Equal(("r1", "running"), (seen.Name, seen.Status));
        Assert.Equal(["settle", "of-r1"], seen.Jobs);
        Assert.Equal(members[0].BootClock, seen.BootClock);

        // What stays the same is the same list, so that nobody need compare a thousand names.
        await _state.Members.HeartbeatAndListAsync(members[0] with { Status = "stopping" }, TimeSpan.FromSeconds(20), Cancel);
        var again = await OthersAsync();
        Assert.Equal("stopping", again.Status);
        Assert.Same(seen.Jobs, again.Jobs);

        // Both are written, and age.
        await _fixture.AgeAsync(TimeSpan.FromSeconds(3));
        Assert.Equal(["r1", "r2"], (await _state.Members.ListAsync(TimeSpan.FromSeconds(20), Cancel)).Items.Select(m => m.Id));
        Assert.DoesNotContain((await ListAsync(TimeSpan.FromSeconds(3))).Items, m => m.Id == "r1");
        var clock = (await ListAsync(TimeSpan.FromSeconds(3))).Now;
        Assert.InRange((clock - _fixture.StateClock).Duration(), TimeSpan.Zero, TimeSpan.FromSeconds(5));

        async Task<MemberRecord> OthersAsync() => Assert.Single((await ListAsync(TimeSpan.FromSeconds(20))).Items, m => m.Id == "r1");

        async Task<MemberList> ListAsync(TimeSpan maxAge) => await other.Members.HeartbeatAndListAsync(members[1], maxAge, Cancel);
    }
}
