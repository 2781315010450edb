using Scheduler.Leases;
using Scheduler.Locking;
using Scheduler.Testing;

namespace Scheduler.Tests.Conformance;

// Rules 3 and 4: the deadline comes first, and the watchdog moves it.
public abstract partial class LeaseStoreConformance<TFixture>
{
    [Fact]
    public async Task Rule_03_a_frozen_holder_sees_the_truth_on_its_first_instruction()
    {
        var (first, second) = await StartTwoReplicasAsync();
        first.Time.Freeze();
        var lease = await first.AcquireAsync(Key, Short);
        Assert.True(lease.IsHeld);

        var next = await second.AcquireWhenFreeAsync(Key, Long, Short + Fixture.Slack);
        first.Time.Advance(Short);

        Assert.False(lease.IsHeld);
        Assert.Equal(TimeSpan.Zero, lease.Remaining);
        Assert.Throws<LeaseLostException>(lease.ThrowIfLost);
        await FiresAsync(lease, Bound);
        Assert.NotEqual(LossReason.None, lease.LossReason);
        first.Time.Run();
        Assert.False(await lease.ReleaseAsync(Stop));
        Assert.True(next.IsHeld);
        Assert.Equal(next.Token.Number, (await second.Locks.ReadAsync(Key, Stop))!.Number);
    }

    [Fact]
    public async Task Rule_03_a_holder_that_hears_nothing_stops_before_another_can_begin()
    {
        var (first, second) = await StartTwoReplicasAsync();
        for (var round = 0; round < 5; round++)
        {
            var lease = await first.AcquireWhenFreeAsync(Key, Short, Bound);
            first.Way.GoSilent(commandsArrive: false);

            var next = await second.AcquireWhenFreeAsync(Key, Long, Short + Fixture.Slack);

            Assert.False(lease.IsHeld, "two holders at the same time");
            await FiresAsync(lease, Bound);
            Assert.Equal(LossReason.DeadlinePassed, lease.LossReason);
            first.Way.Heal();
            Assert.True(await next.ReleaseAsync(Stop));
        }
    }

    [Fact]
    public async Task Rule_03_a_renewal_without_an_answer_never_extends()
    {
        var (first, _) = await StartTwoReplicasAsync();
        // While the clock stands still no renewal is sent, so none can be under way when the answers stop.
        first.Time.Freeze();
        var duration = TimeSpan.FromSeconds(1);
        var started = first.Time.GetTimestamp();
        var lease = await first.AcquireAsync(Key, duration);
        var deadline = lease.Deadline;
        Assert.True(first.Time.GetElapsedTime(started, deadline) < duration, "no allowance for drift");

        // The server executes these renewals; that is not known here.
        first.Way.GoSilent(commandsArrive: true);
        first.Time.Run();
        await FiresAsync(lease, Bound);

        Assert.True(first.Way.Renewals > 0, "the watchdog has not even tried");
        Assert.Equal(deadline, lease.Deadline);
        Assert.Equal(LossReason.DeadlinePassed, lease.LossReason);
        Assert.True(first.Time.GetTimestamp() >= deadline, "lost before its deadline");
    }

    [Fact]
    public async Task Rule_04_the_watchdog_keeps_a_short_lease_alive()
    {
        var (first, second) = await StartTwoReplicasAsync();
        // A machine may stall for 200 ms; a watchdog that does not work fails every round.
        await Eventually.Holds(
            async () =>
            {
                var lease = await first.AcquireWhenFreeAsync(Key, Short, Bound);
                var since = TimeProvider.System.GetTimestamp();
                while (lease.IsHeld && TimeProvider.System.GetElapsedTime(since) < 5 * Short)
                {
                    var answer = await second.Locks.TryAcquireAsync(Key, "rival", Long);
                    if (answer is LockAttempt.Granted rival)
                    {
                        Assert.False(lease.IsHeld, "two holders at the same time");
                        await rival.Lease.ReleaseAsync(Stop);
                    }
                }
                var survived = lease.IsHeld;
                await lease.ReleaseAsync(Stop);
                return survived;
            },
            within: TimeSpan.FromSeconds(20),
            what: "a lease of 200 ms is held for a second"
        );
    }

    [Fact]
    public async Task Rule_04_a_callback_that_blocks_loses_no_other_lease_and_delays_no_other_callback()
    {
        var (first, second) = await StartTwoReplicasAsync();
        var duration = TimeSpan.FromSeconds(2);
        var blocked = await first.AcquireAsync(LockKey.From("job:blocked"), duration);
        var other = await first.AcquireAsync(LockKey.From("job:other"), duration);
        var kept = new List<Lease>();
        for (var i = 0; i < 20; i++)
        {
            kept.Add(await first.AcquireAsync(LockKey.From($"job:kept{i}"), duration));
        }
        using var unblock = new ManualResetEventSlim();
        var entered = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        var told = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        await using var blocking = blocked.Lost.Register(() =>
        {
            entered.TrySetResult();
            unblock.Wait(CancellationToken.None);
        });
        await using var telling = other.Lost.Register(() => told.TrySetResult());
        try
        {
            await second.Locks.RevokeAsync(blocked.Key, Stop);
            await entered.Task.WaitAsync(Bound, Stop);
            await second.Locks.RevokeAsync(other.Key, Stop);
            await told.Task.WaitAsync(Bound, Stop);
            var since = TimeProvider.System.GetTimestamp();
            await Eventually.Holds(() => TimeProvider.System.GetElapsedTime(since) > 2 * duration);

            Assert.All(kept, lease => Assert.True(lease.IsHeld, $"{lease.Key} was lost: {lease.LossReason}"));
        }
        finally
        {
            unblock.Set();
        }
    }
}
