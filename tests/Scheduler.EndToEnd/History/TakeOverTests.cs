using Scheduler.Runs;
using Scheduler.Testing.History;

namespace Scheduler.EndToEnd.History;

/// <summary>What counts as the time of a take-over.</summary>
public sealed class TakeOverTests
{
    private static readonly DateTimeOffset Due = new(2026, 1, 31, 10, 0, 0, TimeSpan.Zero);
    private static readonly Fault Kill = new("a", FaultKind.Kill, At(1.3)) { SentAt = At(1.2) };
    private static readonly BodyRecord[] Cut = [Body(0, 1, "a-1", 1, null), Body(0, 2, "b-2", 3, 3.5)];

    [Fact]
    public void It_lasts_from_the_kill_to_the_next_body()
    {
        var found = Assert.Single(Of([Kill], Cut));

        Assert.Equal((TimeSpan.FromSeconds(1.8), "a-1", false), (found.Waited, found.Killed, found.CameAfterAnother));
    }

    [Fact]
    public void A_body_that_ended_or_whose_replica_lives_is_not_taken_over()
    {
        Assert.Empty(Of([], Cut));
        Assert.Empty(Of([Kill with { Kind = FaultKind.Freeze }], Cut));
        Assert.Empty(Of([Kill with { Replica = "c" }], Cut));
        Assert.Empty(Of([Kill], Body(0, 1, "a-1", 1, 1.1), Body(0, 2, "b-2", 3, 3.5)));
    }

    [Fact]
    public void Another_body_of_the_job_that_came_in_between_is_not_counted()
    {
        var found = Assert.Single(Of([Kill], [.. Cut, Body(1, 1, "c-3", 2.1, 2.9), Body(2, 1, "c-3", 3.6, 3.7)]));

        Assert.Equal((TimeSpan.FromSeconds(0.1), true), (found.Waited, found.CameAfterAnother));
    }

    [Fact]
    public void What_came_to_an_end_before_the_kill_is_no_excuse()
    {
        Assert.Equal(TimeSpan.FromSeconds(1.8), Assert.Single(Of([Kill], [.. Cut, Body(-1, 1, "c-3", 0.1, 0.9)])).Waited);
    }

    [Fact]
    public void A_replica_that_took_over_and_was_killed_before_its_body_begins_the_time_anew()
    {
        var second = new Fault("b", FaultKind.Kill, At(2.5)) { SentAt = At(2.4) };

        Assert.Equal(TimeSpan.FromSeconds(0.6), Assert.Single(Of([Kill, second], Cut[0], Body(0, 3, "c-3", 3, 3.5))).Waited);
        // With the next attempt there was none in between, whoever else was killed.
        Assert.Equal(TimeSpan.FromSeconds(1.8), Assert.Single(Of([Kill, second], Cut)).Waited);
    }

    private static IReadOnlyList<TakeOver> Of(Fault[] faults, params BodyRecord[] bodies) =>
        TakeOver.Of(
            new RunHistory
            {
                Expected = [],
                Rows = [],
                Bodies = bodies,
                Faults = faults,
                BootedAt = Due,
            }
        );

    private static BodyRecord Body(int due, int attempt, string replica, double begin, double? end) =>
        new(
            new Occurrence("job", "second", Due.AddSeconds(due)),
            attempt,
            attempt,
            replica,
            At(begin),
            end is { } at ? At(at) : null,
            end is null ? BodyPhase.Begun : BodyPhase.Done
        );

    private static TimeSpan At(double second) => TimeSpan.FromSeconds(second);
}
