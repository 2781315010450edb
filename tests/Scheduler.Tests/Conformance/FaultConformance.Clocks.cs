using Scheduler.Leases;
using Scheduler.Testing;

namespace Scheduler.Tests.Conformance;

// The servers' wall clocks are stepped, as by an operator or a virtual machine that was moved. Rules 2 and 3.
public abstract partial class FaultConformance<TFixture>
{
    [Theory]
    [InlineData(3_600)]
    [InlineData(-3_600)]
    public Task A_step_of_the_servers_clock_leaves_no_holder_in_the_dark(int seconds) =>
        Seed.RunAsync(async () =>
        {
            var step = TimeSpan.FromSeconds(seconds);
            var (behind, beside) = (await StartBehindAsync(OftenRenewed), await StartBesideAsync());
            var lease = await behind.AcquireAsync(Key, TimeSpan.FromSeconds(10));
            try
            {
                Fixture.Clock.Set(step);
                var deadline = lease.Deadline + (TimeSpan.TicksPerSecond / 2);
                await Eventually.Holds(() => !lease.IsHeld || lease.Deadline > deadline, Bound, "the holder has heard of the step");

                Assert.Equal(Fixture.Inner.StepEndsLeases(step), !lease.IsHeld);
                if (!lease.IsHeld)
                {
                    // Which of the two it hears first depends on who asked first.
                    Assert.Contains(lease.LossReason, new[] { LossReason.ServerClockJumped, LossReason.StoreLost });
                }
                await lease.ReleaseAsync(Stop);
                var next = await beside.AcquireWhenFreeAsync(Key, TimeSpan.FromSeconds(1), Bound);
                Assert.True(next.Token > lease.Token, $"{next.Token} after {lease.Token}");

                // From there on it goes on as before: what is held is kept, what is left ends.
                var kept = next.Deadline + (TimeSpan.TicksPerSecond / 2);
                await Eventually.Holds(() => next.Deadline > kept, Bound, "the lease is kept");
                beside.Way.GoSilent(commandsArrive: false);
                var last = await behind.AcquireWhenFreeAsync(Key, TimeSpan.FromSeconds(10), Bound);
                Assert.False(next.IsHeld, "two holders at the same time");
                Assert.True(last.Token > next.Token, $"{last.Token} after {next.Token}");
            }
            finally
            {
                Fixture.Clock.Set(TimeSpan.Zero);
            }
        });
}
