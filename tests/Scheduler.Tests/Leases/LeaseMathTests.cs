using FsCheck;
using FsCheck.Fluent;
using Scheduler.Leases;
using Scheduler.Locking;

namespace Scheduler.Tests.Leases;

public sealed class LeaseMathTests
{
    private static readonly Gen<TimeSpan> Durations = Gen.Choose(50, 600_000).Select(ms => TimeSpan.FromMilliseconds(ms));
    private static readonly Gen<long> Frequencies = Gen.Elements(1_000L, 10_000_000L, 1_000_000_000L, 24_000_000L);
    private static readonly Gen<long> Instants = Gen.Choose(0, int.MaxValue).Select(i => (long)i * 4_000_000_000L / 3);

    [Fact]
    public void Deadline_comes_before_the_server_can_expire_the_grant() =>
        For(
            (sentAt, duration, frequency) =>
            {
                var lasts = LeaseMath.ToTimeSpan(LeaseMath.Deadline(sentAt, duration, frequency) - sentAt, frequency);
                var allowance = duration * 0.01 + TimeSpan.FromMilliseconds(2);
                return lasts > TimeSpan.Zero
                    && lasts <= duration - allowance
                    && lasts > duration - allowance - TimeSpan.FromMilliseconds(2);
            }
        );

    [Fact]
    public void Renewal_comes_early_enough_for_one_to_be_lost() =>
        For(
            (sentAt, duration, frequency) =>
            {
                var interval = LeaseMath.RenewalInterval(duration, null);
                var next = LeaseMath.NextRenewal(sentAt, interval, frequency);
                var step = LeaseMath.ToTimestamps(interval, frequency);
                return next <= sentAt + step
                    && next >= sentAt + step - step / 16 - 1
                    && sentAt + 2 * step <= LeaseMath.Deadline(sentAt, duration, frequency);
            }
        );

    [Fact]
    public void Configured_interval_is_never_more_than_forty_percent() =>
        Check.QuickThrowOnFailure(
            Prop.ForAll(
                Durations.Zip(Durations).ToArbitrary(),
                pair =>
                {
                    var interval = LeaseMath.RenewalInterval(pair.Item1, pair.Item2);
                    return interval <= pair.Item1 * LeaseOptionsValidator.LargestRenewalShare && interval <= pair.Item2;
                }
            )
        );

    [Fact]
    public void Conversions_round_towards_zero_and_come_back() =>
        For(
            (instant, duration, frequency) =>
            {
                var there = LeaseMath.ToTimestamps(duration, frequency);
                var back = LeaseMath.ToTimeSpan(there, frequency);
                var whole = LeaseMath.ToTimeSpan(instant, frequency);
                return back <= duration
                    && duration - back <= TimeSpan.FromSeconds(1.0 / frequency) + TimeSpan.FromTicks(1)
                    && whole >= TimeSpan.Zero;
            }
        );

    [Theory]
    [InlineData(long.MaxValue, 1_000_000_000)]
    [InlineData(long.MinValue, 1_000_000_000)]
    [InlineData(long.MaxValue, 1)]
    public void Conversions_saturate(long ticks, long frequency)
    {
        var there = LeaseMath.ToTimestamps(new TimeSpan(ticks), frequency);
        Assert.Equal(Math.Sign(ticks), Math.Sign(there));
        Assert.Equal(Math.Sign(ticks), Math.Sign(LeaseMath.ToTimeSpan(ticks, frequency).Ticks));
        Assert.Equal(long.MaxValue, LeaseMath.Add(long.MaxValue - 1, 5));
        Assert.Equal(long.MinValue, LeaseMath.Add(long.MinValue + 1, -5));
        Assert.Equal(long.MaxValue, LeaseMath.Deadline(long.MaxValue - 1, TimeSpan.FromSeconds(1), 1_000));
    }

    [Fact]
    public void Heap_gives_leases_in_order_of_due_time_whatever_is_changed_or_removed() =>
        Check.QuickThrowOnFailure(
            Prop.ForAll(
                Gen.Choose(0, 1_000).Zip(Gen.Choose(0, 2)).ListOf().ToArbitrary(),
                steps =>
                {
                    var heap = new LeaseHeap();
                    var model = new List<LeaseState>();
                    foreach (var (due, action) in steps)
                    {
                        if (action == 0 && model.Count > 0)
                        {
                            var victim = model[due % model.Count];
                            model.Remove(victim);
                            heap.Remove(victim);
                            heap.Remove(victim);
                        }
                        else if (action == 1 && model.Count > 0)
                        {
                            var moved = model[due % model.Count];
                            moved.Due = due;
                            heap.Update(moved);
                        }
                        else
                        {
                            var added = new LeaseState(null!, default, default, 0) { Due = due };
                            model.Add(added);
                            heap.Add(added);
                        }
                    }
                    var drained = new List<long>();
                    while (heap.Count > 0)
                    {
                        drained.Add(heap.Top.Due);
                        heap.Remove(heap.Top);
                    }
                    return drained.SequenceEqual(model.Select(l => l.Due).Order());
                }
            )
        );

    [Fact]
    public void Server_clock_allows_what_the_calls_explain_and_reports_a_jump()
    {
        var clock = new ServerClock(1_000);
        var server = new DateTimeOffset(2026, 1, 1, 0, 0, 0, TimeSpan.Zero);
        Assert.Equal(TimeSpan.Zero, clock.Observe(server, 0, 10));
        Assert.Equal(TimeSpan.Zero, clock.Observe(server.AddMilliseconds(1_500), 1_000, 1_010));
        Assert.Equal(TimeSpan.Zero, clock.Observe(server.AddMilliseconds(2_900), 2_000, 4_000));
        Assert.True(clock.Observe(server.AddMilliseconds(7_000), 5_000, 5_010) > TimeSpan.FromMilliseconds(500));
        Assert.Equal(TimeSpan.Zero, clock.Observe(server.AddMilliseconds(8_000), 6_000, 6_010));
        Assert.True(clock.Observe(server.AddMilliseconds(7_000), 7_000, 7_010) < TimeSpan.FromMilliseconds(-500));
    }

    [Fact]
    public void A_slow_answer_does_not_hide_a_jump()
    {
        var clock = new ServerClock(1_000);
        var server = new DateTimeOffset(2026, 1, 1, 0, 0, 0, TimeSpan.Zero);
        Assert.Equal(TimeSpan.Zero, clock.Observe(server, 0, 10));
        // Read at once by the server, and told a minute later.
        Assert.Equal(TimeSpan.Zero, clock.Observe(server.AddMilliseconds(60_000), 1_000, 61_000));
        Assert.True(clock.Observe(server.AddMilliseconds(72_000), 62_000, 62_010) > TimeSpan.FromSeconds(9));
    }

    [Fact]
    public void Clocks_that_run_apart_slowly_do_not_jump()
    {
        var clock = new ServerClock(1_000);
        var server = new DateTimeOffset(2026, 1, 1, 0, 0, 0, TimeSpan.Zero);
        for (var ours = 0L; ours < 10_000_000; ours += 3_000)
        {
            Assert.Equal(TimeSpan.Zero, clock.Observe(server.AddMilliseconds(ours * 1.001), ours, ours + 1));
        }
    }

    private static void For(Func<long, TimeSpan, long, bool> holds) =>
        Check.QuickThrowOnFailure(
            Prop.ForAll(Instants.Zip(Durations).Zip(Frequencies).ToArbitrary(), t => holds(t.Item1.Item1, t.Item1.Item2, t.Item2))
        );
}
