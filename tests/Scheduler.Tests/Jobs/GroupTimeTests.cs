using Scheduler.Jobs.Clocks;
using Scheduler.Testing;

namespace Scheduler.Tests.Jobs;

/// <summary>The time that replicas go by, from clocks that are wrong, by fake clocks.</summary>
public sealed class GroupTimeTests
{
    private static readonly TimeSpan Max = TimeSpan.FromSeconds(2);
    private readonly FakeTime _own = new();
    private readonly GroupTime _time;

    public GroupTimeTests() => _time = new(_own, Max);

    [Theory]
    [InlineData(0)]
    [InlineData(150)]
    [InlineData(-150)]
    [InlineData(2_000)]
    public void It_shows_what_State_does(int ahead)
    {
        Compare(TimeSpan.FromMilliseconds(ahead), TimeSpan.Zero);
        Assert.Equal(ahead, Ahead);
        _own.Advance(TimeSpan.FromHours(1));
        Assert.Equal(ahead, Ahead);
    }

    [Theory]
    [InlineData(2_001)]
    [InlineData(-2_001)]
    [InlineData(3_600_000)]
    public void A_clock_that_is_off_by_more_than_is_allowed_is_not_corrected(int ahead)
    {
        Compare(TimeSpan.FromMilliseconds(ahead), TimeSpan.Zero);
        Assert.Equal(0, Ahead);
        // Somebody sets it.
        _own.SetWallClock(_own.GetUtcNow().AddMilliseconds(ahead + 100));
        Assert.Equal(-100, Ahead);
    }

    [Fact]
    public void A_clock_that_is_set_by_a_little_between_two_comparisons_changes_nothing()
    {
        Compare(TimeSpan.FromMilliseconds(150), TimeSpan.Zero);
        var before = _time.GetUtcNow();
        _own.SetWallClock(_own.GetUtcNow().AddSeconds(-1));
        Assert.Equal(before, _time.GetUtcNow());
    }

    [Fact]
    public void An_answer_that_took_long_moves_it_no_further_than_it_must_and_the_quickest_decide()
    {
        // State's clock is 150 ms ahead, and showed that at the end of a question, at its begin, and in between.
        Compare(TimeSpan.FromMilliseconds(150), TimeSpan.FromMilliseconds(400));
        Assert.Equal(150, Ahead);
        Compare(TimeSpan.FromMilliseconds(150), TimeSpan.FromMilliseconds(100), before: TimeSpan.FromMilliseconds(100));
        Assert.Equal(150, Ahead);
        Compare(TimeSpan.FromMilliseconds(120), TimeSpan.FromMilliseconds(10));
        Assert.Equal(130, Ahead);
        Compare(TimeSpan.FromMilliseconds(150), TimeSpan.FromMilliseconds(10), before: TimeSpan.FromMilliseconds(5));
        Assert.Equal(145, Ahead);
        Compare(TimeSpan.FromMilliseconds(150), TimeSpan.FromSeconds(3), before: TimeSpan.FromSeconds(1));
        Assert.Equal(145, Ahead);
    }

    [Fact]
    public void With_nobody_to_compare_with_it_is_the_own_clock_as_it_is()
    {
        Compare(TimeSpan.FromMilliseconds(150), TimeSpan.Zero);
        _time.Follow(null, ClockReading.Take(_own));
        Assert.Equal(0, Ahead);
    }

    private double Ahead => (_time.GetUtcNow() - _own.GetUtcNow()).TotalMilliseconds;

    // A question that took so long, answered by what State's clock showed some time before its end.
    private void Compare(TimeSpan stateIsAhead, TimeSpan roundTrip, TimeSpan before = default)
    {
        _own.Advance(roundTrip);
        var reading = ClockReading.Take(_own);
        _time.Follow(ClockReference.OfState(_own.GetUtcNow() + stateIsAhead - before, reading, roundTrip), reading);
    }
}
