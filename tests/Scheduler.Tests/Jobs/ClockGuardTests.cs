using FsCheck;
using FsCheck.Fluent;
using Microsoft.Extensions.Logging;
using Scheduler.Jobs.Clocks;
using Scheduler.Runs;
using Scheduler.Testing;

namespace Scheduler.Tests.Jobs;

/// <summary>When a replica takes its wall clock for right, by fake clocks.</summary>
public sealed class ClockGuardTests : IDisposable
{
    private const int Off = 3024;
    private const int Right = 3025;
    private static readonly TimeSpan Max = TimeSpan.FromSeconds(2);
    private static readonly TimeSpan Hour = TimeSpan.FromHours(1);
    private readonly FakeTime _time = new();
    private readonly LogCapture _log = new();
    private readonly ReplicaIdentity _replica = ReplicaIdentity.Create("m");
    private readonly ClockGuard _guard;

    public ClockGuardTests() => _guard = new(_replica, new GroupTime(_time, Max), Max, isWatched: true, _log.CreateLogger<ClockGuard>());

    public void Dispose() => _log.Dispose();

    [Fact]
    public void Before_the_first_comparison_it_fires_nothing_and_after_one_with_nobody_everything()
    {
        Assert.Equal(("starting", true), (_guard.Activity, _guard.Problem!.Contains("not been compared", StringComparison.Ordinal)));
        Compare();
        Assert.Equal(("running", null), (_guard.Activity, _guard.Problem));
        // There is nobody to say which time is right.
        Set(Hour);
        Compare();
        Assert.Null(_guard.Problem);
        Assert.Empty(_log.Entries);
    }

    [Fact]
    public void Without_State_nothing_is_compared() =>
        Assert.Null(new ClockGuard(_replica, new GroupTime(_time, Max), Max, isWatched: false, _log.CreateLogger<ClockGuard>()).Problem);

    [Theory]
    [InlineData(0, true)]
    [InlineData(1.9, true)]
    [InlineData(-1.9, true)]
    [InlineData(2.1, false)]
    [InlineData(-2.1, false)]
    [InlineData(-3600, false)]
    public void The_clock_of_State_decides(double ahead, bool fires)
    {
        CompareWithState(TimeSpan.FromSeconds(-ahead), TimeSpan.Zero);
        Assert.Equal(fires, _guard.Problem is null);
        Assert.Equal(fires ? "running" : "clockOff", _guard.Activity);
        Assert.Equal(fires ? 0 : 1, _log.Entries.Count(e => e.Id.Id == Off && e.Level == LogLevel.Error));
        if (!fires)
        {
            Assert.Contains(ahead > 0 ? "s ahead of State's clock" : "s behind State's clock", _guard.Problem, StringComparison.Ordinal);
            Assert.Contains("MaxClockOffset", _guard.Problem, StringComparison.Ordinal);
        }
    }

    [Fact]
    public void An_answer_that_took_long_accuses_nobody_and_clears_nobody()
    {
        // State's clock was read at some time in those three seconds.
        CompareWithState(TimeSpan.FromSeconds(-3.5), TimeSpan.FromSeconds(3));
        Assert.Null(_guard.Problem);
        CompareWithState(TimeSpan.FromSeconds(-2.5), TimeSpan.Zero);
        Assert.NotNull(_guard.Problem);
        CompareWithState(TimeSpan.FromSeconds(-3.5), TimeSpan.FromSeconds(3));
        Assert.NotNull(_guard.Problem);
        CompareWithState(TimeSpan.FromSeconds(-6), TimeSpan.FromSeconds(1));
        Assert.NotNull(_guard.Problem);
        CompareWithState(TimeSpan.FromSeconds(-0.5), TimeSpan.FromSeconds(0.5));
        Assert.Null(_guard.Problem);
        Assert.Equal((1, 1), (_log.Entries.Count(e => e.Id.Id == Off), _log.Entries.Count(e => e.Id.Id == Right)));
    }

    [Fact]
    public void A_clock_that_is_set_is_noticed_at_the_next_question_not_at_the_next_heartbeat()
    {
        CompareWithState(TimeSpan.Zero, TimeSpan.Zero);
        Set(Hour);
        Assert.Contains("3600.0 s ahead", _guard.Problem, StringComparison.Ordinal);
        Assert.False(_guard.TakeSetBack());
        Set(-Hour);
        Assert.Null(_guard.Problem);
        Assert.True(_guard.TakeSetBack());
        Assert.False(_guard.TakeSetBack());
        Set(-Hour);
        Assert.Contains("3600.0 s behind", _guard.Problem, StringComparison.Ordinal);
        Assert.Equal(2, _log.Entries.Count(e => e.Id.Id == Off));
    }

    [Fact]
    public void Of_three_on_one_host_the_two_that_agree_are_right()
    {
        Compare(Member("a", TimeSpan.Zero), Member("z", TimeSpan.Zero));
        Assert.Null(_guard.Problem);
        Compare(Member("a", Hour), Member("z", TimeSpan.Zero));
        Assert.Null(_guard.Problem);
        Compare(Member("a", Hour, "clockOff"), Member("z", Hour, "clockOff"));
        Assert.Contains("most of the 3 replicas", _guard.Problem, StringComparison.Ordinal);
    }

    [Fact]
    public void Of_two_on_one_host_the_one_that_was_right_before_is_right()
    {
        Compare(Member("a", TimeSpan.Zero));
        // The other one leaps, and knows.
        Compare(Member("a", Hour, "clockOff"));
        Assert.Null(_guard.Problem);
        // This one leaps, and knows before anybody is asked; what the other wrote before that changes nothing.
        Set(Hour);
        Assert.Contains("replica 'a'", _guard.Problem, StringComparison.Ordinal);
        Compare(Member("a", -Hour));
        Assert.NotNull(_guard.Problem);
        // The clock of the host was set: so says the other one.
        Compare(Member("a", TimeSpan.Zero, "clockOff"));
        Assert.Null(_guard.Problem);
    }

    [Theory]
    [InlineData("running", "a", false)]
    [InlineData("running", "z", false)]
    [InlineData("starting", "a", false)]
    [InlineData("starting", "z", true)]
    [InlineData("clockOff", "a", false)]
    public void A_newcomer_goes_by_the_clock_of_who_is_there(string status, string id, bool fires)
    {
        // Against one that fires it has no say; of two that begin, or that are both off, the first id has.
        Compare(Member(id, Hour, status));
        Assert.Equal(fires, _guard.Problem is null);
    }

    [Theory]
    [InlineData("a", false)]
    [InlineData("z", true)]
    public void Of_two_that_began_without_seeing_each_other_the_first_id_is_right(string id, bool fires)
    {
        Compare();
        Compare(Member(id, Hour));
        Assert.Equal(fires, _guard.Problem is null);
    }

    [Fact]
    public void Two_against_two_go_by_those_that_fire()
    {
        Compare();
        Compare(Member("z", TimeSpan.Zero), Member("a", Hour, "clockOff"), Member("b", Hour));
        Assert.Null(_guard.Problem);
        Compare(Member("z", TimeSpan.Zero, "stopping"), Member("a", Hour), Member("b", Hour));
        Assert.NotNull(_guard.Problem);
    }

    [Fact]
    public void A_member_that_is_gone_is_no_witness()
    {
        Compare(Member("a", Hour) with { Age = TimeSpan.FromSeconds(6) });
        Assert.Null(_guard.Problem);
    }

    [Fact]
    public void Every_replica_of_a_host_decides_alike()
    {
        FsCheck
            .Fluent.Prop.ForAll<(int Offset, bool Fires)[]>(clocks =>
            {
                List<ClockWitness> all =
                [
                    .. clocks.Take(9).Select((c, i) => new ClockWitness($"r{i}", $"r{i}", Start.AddSeconds(c.Offset), c.Fires)),
                ];
                var references = all.Select(own => ClockReference.OfMembers(own, [.. all.Where(w => w.Id != own.Id)], Max)?.Earliest);
                return references.Distinct().Count() <= 1;
            })
            .QuickCheckThrowOnFailure();
    }

    private static readonly DateTimeOffset Start = new(2026, 1, 31, 0, 0, 0, TimeSpan.Zero);

    private void Set(TimeSpan by) => _time.SetWallClock(_time.GetUtcNow() + by);

    private void Compare(params MemberRecord[] others) =>
        _guard.Observe(new MemberList([Member(_replica.Id, TimeSpan.FromDays(1)), .. others], _time.GetUtcNow()), _time.GetTimestamp());

    private void CompareWithState(TimeSpan stateIsAhead, TimeSpan roundTrip)
    {
        var asked = _time.GetTimestamp();
        _time.Advance(roundTrip);
        _guard.Observe(new MemberList([], _time.GetUtcNow() + stateIsAhead) { HasClock = true }, asked);
    }

    private MemberRecord Member(string id, TimeSpan ahead, string status = "running") =>
        new()
        {
            Id = id,
            Name = id,
            StartedAt = Start,
            WallClock = _time.GetUtcNow() + ahead,
            BootClock = _time.GetElapsedTime(0),
            Status = status,
        };
}
