using System.Diagnostics;
using Scheduler.Locking;
using Scheduler.Testing;

namespace Scheduler.Tests.Conformance;

// A lock store keeps which State it belongs to.
public abstract partial class LeaseStoreConformance<TFixture>
{
    private static readonly StateMark One = new("state-1", "State 'sqlite' state-1, confirmed by \"ä\"", 2);
    private static readonly StateMark Two = new("state-2", "State 'sqlite' state-2, confirmed by b", 0);

    [Fact]
    public async Task The_first_state_is_noted_and_shown_to_all()
    {
        var (first, second) = await ConnectTwoAsync();
        Assert.Null(await second.Store.PairAsync(null, Long, Stop));

        Assert.Equal(One.Id, (await first.Store.PairAsync(One, Long, Stop))!.Id);

        var shown = await second.Store.PairAsync(null, Long, Stop);
        Assert.Equal((One.Id, One.Label, One.Generation), (shown!.Id, shown.Label, shown.Generation));
        Assert.InRange(shown.Age, TimeSpan.Zero, Long);
    }

    [Fact]
    public async Task Another_state_is_noted_only_when_the_first_has_been_silent()
    {
        var (first, second) = await ConnectTwoAsync();
        await first.Store.PairAsync(One, Long, Stop);

        Assert.Equal(One.Id, (await second.Store.PairAsync(Two, TimeSpan.FromMinutes(1), Stop))!.Id);
        Assert.Equal(One.Id, (await first.Store.PairAsync(null, Long, Stop))!.Id);

        // Confirmed again, it is not silent, however long ago it was noted.
        var noted = Stopwatch.GetTimestamp();
        await Eventually.Holds(() => Stopwatch.GetElapsedTime(noted) > TimeSpan.FromSeconds(1.2));
        await first.Store.PairAsync(One, Long, Stop);
        Assert.Equal(One.Id, (await second.Store.PairAsync(Two, TimeSpan.FromSeconds(1), Stop))!.Id);

        StateMark? after = null;
        await Eventually.Holds(async () => (after = await second.Store.PairAsync(Two, TimeSpan.FromSeconds(1), Stop))!.Id == Two.Id);
        // The generation of tokens never falls.
        Assert.Equal(One.Generation, after!.Generation);
        Assert.Equal(Two.Label, (await first.Store.PairAsync(null, Long, Stop))!.Label);
    }

    [Fact]
    public async Task The_generation_that_is_noted_only_rises()
    {
        var client = await ConnectAsync();
        await client.Store.PairAsync(One with { Generation = 5 }, Long, Stop);
        Assert.Equal(5, (await client.Store.PairAsync(One with { Generation = 3 }, Long, Stop))!.Generation);
        Assert.Equal(1_023, (await client.Store.PairAsync(One with { Generation = 1_023 }, Long, Stop))!.Generation);
        Assert.Equal(1_023, (await client.Store.PairAsync(null, Long, Stop))!.Generation);
    }
}
