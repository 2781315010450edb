using Scheduler.Locking;
using Scheduler.Runs;

namespace Scheduler.Tests.Conformance;

// Which lock store belongs to the group.
public abstract partial class StateConformance
{
    private static readonly TimeSpan Quiet = TimeSpan.FromSeconds(36);

    [Fact]
    public async Task A_state_has_one_id_for_ever()
    {
        var id = await _state.Pair.IdAsync(Cancel);
        Assert.InRange(id.Length, 16, 64);
        Assert.Equal(id, await (await OpenAsync("a")).Pair.IdAsync(Cancel));
    }

    [Fact]
    public async Task The_first_lock_store_is_the_groups_and_each_other_one_raises_the_generation()
    {
        Assert.Null(await _state.Pair.RecallAsync(Cancel));
        Assert.Equal(new PairResult.Paired(0, null), await PairAsync("one"));
        Assert.Equal(new PairResult.Paired(0, null), await PairAsync("one"));
        Assert.Equal(new PairResult.Paired(1, "one"), await PairAsync("two"));
        Assert.Equal(new PairResult.Paired(1, null), await PairAsync("two"));
        Assert.Equal(new PairResult.Paired(2, "two"), await PairAsync("one"));
        Assert.Equal("one", await _state.Pair.RecallAsync(Cancel));
        Assert.Equal("one", (await _state.Members.ListAsync(Quiet, Cancel)).LockStore);
    }

    [Fact]
    public async Task A_lock_store_is_not_replaced_while_a_replica_may_hold_leases_of_it()
    {
        await PairAsync("one");
        await UsesAsync("r1", "one");
        await UsesAsync("r2", null);
        await UsesAsync("r3", "two");
        // Its own row is of the store that it used before.
        await UsesAsync("asks", "one");

        var taken = Assert.IsType<PairResult.Taken>(await PairAsync("two"));
        Assert.Equal(("one", "name of r1"), (taken.StoreId, Assert.Single(taken.Replicas)));
        Assert.InRange(taken.Age, TimeSpan.Zero, TimeSpan.FromSeconds(10));
        Assert.Equal("one", await _state.Pair.RecallAsync(Cancel));

        // A replica with the group's store is never refused, whoever else lives.
        Assert.Equal(new PairResult.Paired(0, null), await PairAsync("one"));

        // Dead for a while, it may still hold one.
        await _fixture.AgeAsync(TimeSpan.FromSeconds(20));
        Assert.InRange(Assert.IsType<PairResult.Taken>(await PairAsync("two")).Age, TimeSpan.FromSeconds(20), TimeSpan.FromSeconds(30));
        await _fixture.AgeAsync(TimeSpan.FromSeconds(17));
        Assert.Equal(new PairResult.Paired(1, "one"), await PairAsync("two"));
    }

    [Fact]
    public async Task A_replica_that_says_that_it_holds_nothing_any_more_is_in_nobodys_way()
    {
        await PairAsync("one");
        await UsesAsync("r1", "one");
        await UsesAsync("r1", null);
        Assert.Equal(new PairResult.Paired(1, "one"), await PairAsync("two"));
        await UsesAsync("r1", "one");
        Assert.IsType<PairResult.Taken>(await PairAsync("three"));
        await _state.Members.LeaveAsync("r1", Cancel);
        Assert.Equal(new PairResult.Paired(2, "two"), await PairAsync("three"));
    }

    [Fact]
    public async Task A_store_that_dies_with_its_process_is_not_kept_and_is_refused_beside_others()
    {
        Assert.Equal(new PairResult.Paired(0, null), await PairAsync("memory", isKept: false));
        Assert.Null(await _state.Pair.RecallAsync(Cancel));
        await UsesAsync("r1", "memory of r1");
        Assert.IsType<PairResult.Taken>(await PairAsync("memory", isKept: false));
        Assert.IsType<PairResult.Taken>(await PairAsync("one"));
        await _state.Members.LeaveAsync("r1", Cancel);
        Assert.Equal(new PairResult.Paired(0, null), await PairAsync("one"));
    }

    [Fact]
    public async Task The_generation_is_not_below_what_the_lock_store_knows_and_ends()
    {
        Assert.Equal(new PairResult.Paired(7, null), await PairAsync("one", least: 7));
        Assert.Equal(new PairResult.Paired(9, null), await PairAsync("one", least: 9));
        Assert.Equal(new PairResult.Paired(9, null), await PairAsync("one"));
        Assert.Equal(
            new PairResult.Paired(FencingToken.MaxGeneration, "one"),
            await PairAsync("two", least: FencingToken.MaxGeneration - 1)
        );
        var usedUp = await Assert.ThrowsAsync<StateUnavailableException>(() => PairAsync("three"));
        Assert.True(usedUp.IsPermanent);
        Assert.Contains("1023", usedUp.Message, StringComparison.Ordinal);
        Assert.Equal("two", await _state.Pair.RecallAsync(Cancel));
    }

    [Fact]
    public async Task Of_two_first_stores_at_once_one_is_the_groups()
    {
        var other = await OpenAsync("a");
        var asked = await Task.WhenAll(
            Task.Run(() => PairAsync("one")),
            Task.Run(async () => await other.Pair.PairAsync(new PairRequest("two", "other", Quiet, 0, IsKept: true), Cancel))
        );
        // Whoever came first; the other replaced it or was refused, and says so.
        Assert.Single(asked, r => r is PairResult.Paired { Former: null });
    }

    private async Task<PairResult> PairAsync(string store, int least = 0, bool isKept = true) =>
        await _state.Pair.PairAsync(new PairRequest(store, "asks", Quiet, least, isKept), Cancel);

    private async Task UsesAsync(string id, string? store) =>
        await _state.Members.HeartbeatAsync(
            new MemberRecord
            {
                Id = id,
                Name = $"name of {id}",
                StartedAt = Noon,
                WallClock = Noon,
                BootClock = TimeSpan.Zero,
                LockStore = store,
            },
            Cancel
        );
}
