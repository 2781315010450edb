using Scheduler.Leases;
using Scheduler.Locking;
using Scheduler.Testing;
using static Scheduler.Tests.Leases.LeaseFixture;

namespace Scheduler.Tests.Leases;

/// <summary>Rules 3, 5 and 9: deadline first, lost is final, abandoned handles.</summary>
public sealed class LeaseLifeTests
{
    [Fact]
    public async Task Deadline_counts_from_before_the_command_and_renewals_move_it()
    {
        await using var f = new LeaseFixture();
        await f.Provider.StartAsync(default);
        f.Store.OnAcquire = (_, answer, _) =>
        {
            var result = answer();
            f.Fake.Advance(TimeSpan.FromMilliseconds(900));
            return new(result);
        };
        var sentAt = f.Time.GetTimestamp();
        var lease = await f.TakeAsync();
        Assert.Equal(LeaseMath.Deadline(sentAt, TimeSpan.FromSeconds(10), f.Time.TimestampFrequency), lease.Deadline);
        var first = lease.Deadline;
        await f.AdvanceUntil(() => lease.Deadline > first, TimeSpan.FromSeconds(5));
        await f.AdvanceUntil(() => f.Store.Renewals >= 10, TimeSpan.FromSeconds(60));
        Assert.True(lease.IsHeld);
        Assert.False(lease.Lost.IsCancellationRequested);
        Assert.True(await lease.ReleaseAsync());
        Assert.False(lease.IsHeld);
        Assert.Equal(TimeSpan.Zero, lease.Remaining);
        Assert.False(await lease.ReleaseAsync());
        Assert.Equal(1, f.Store.Releases);
        Assert.Equal(LossReason.None, lease.LossReason);
    }

    [Fact]
    public async Task Unknown_renewals_never_extend_and_lost_fires_at_the_deadline()
    {
        await using var f = new LeaseFixture();
        var lease = await f.TakeAsync();
        var deadline = lease.Deadline;
        f.Store.OnRenew = (batch, _, _) => new(new RenewalReply(new RenewalOutcome[batch.Count]));
        var lost = lease.Lost;
        await f.AdvanceUntil(() => f.Store.Renewals >= 4, TimeSpan.FromSeconds(9));
        Assert.Equal(deadline, lease.Deadline);
        Assert.True(lease.IsHeld);
        await f.AdvanceUntil(() => lost.IsCancellationRequested, TimeSpan.FromSeconds(10));
        Assert.Equal(LossReason.DeadlinePassed, lease.LossReason);
        Assert.Throws<LeaseLostException>(lease.ThrowIfLost);
    }

    [Fact]
    public async Task Hung_renewals_lose_the_lease_and_their_late_answer_does_not_revive_it()
    {
        await using var f = new LeaseFixture();
        var lease = await f.TakeAsync();
        var late = new TaskCompletionSource<RenewalReply>(TaskCreationOptions.RunContinuationsAsynchronously);
        f.Store.OnRenew = async (_, _, _) => await late.Task;
        var lost = lease.Lost;
        await f.AdvanceUntil(() => lost.IsCancellationRequested, TimeSpan.FromSeconds(12));
        late.SetResult(new RenewalReply([RenewalOutcome.Renewed]));
        await f.AdvanceUntil(() => f.Provider.Health.IsUp, TimeSpan.FromSeconds(5));
        Assert.False(lease.IsHeld);
        Assert.Equal(LossReason.DeadlinePassed, lease.LossReason);
        Assert.Equal(0, f.Provider.HeldCount);
    }

    [Fact]
    public async Task Answer_that_arrives_after_the_deadline_does_not_extend_even_before_the_watchdog_looked()
    {
        await using var f = new LeaseFixture();
        var lease = await f.TakeAsync();
        f.Store.OnRenew = (_, answer, _) =>
        {
            // The process is frozen between the command and its answer.
            f.Fake.Advance(TimeSpan.FromSeconds(30));
            return new(answer());
        };
        f.Fake.Advance(TimeSpan.FromSeconds(4));
        await Eventually.Holds(() => lease.LossReason != LossReason.None);
        Assert.Equal(LossReason.DeadlinePassed, lease.LossReason);
    }

    [Fact]
    public async Task Frozen_process_sees_the_truth_on_its_first_question()
    {
        var time = new JumpTime();
        await using var f = new LeaseFixture(time);
        var lease = await f.TakeAsync();
        time.Offset = TimeSpan.FromSeconds(11).Ticks;
        Assert.False(lease.IsHeld);
        Assert.Equal(LossReason.DeadlinePassed, lease.LossReason);
        Assert.True(lease.Lost.IsCancellationRequested);
        time.Offset = 0;
        Assert.False(lease.IsHeld);
    }

    [Theory]
    [InlineData(RenewalOutcome.Revoked, LossReason.Revoked)]
    [InlineData(RenewalOutcome.Lost, LossReason.StoreLost)]
    public async Task Store_says_no_longer_yours(RenewalOutcome outcome, LossReason reason)
    {
        await using var f = new LeaseFixture();
        var lease = await f.TakeAsync();
        f.Store.OnRenew = (_, _, _) => new(new RenewalReply([outcome]));
        await f.AdvanceUntil(() => lease.LossReason != LossReason.None, TimeSpan.FromSeconds(5));
        Assert.Equal(reason, lease.LossReason);
        // Releasing a lost lease confirms once, by owner value, and says false.
        Assert.False(await lease.ReleaseAsync());
        Assert.False(await lease.ReleaseAsync());
        Assert.Equal(1, f.Store.Releases);
    }

    [Fact]
    public async Task Releasing_a_lost_lease_touches_nobody_elses()
    {
        await using var f = new LeaseFixture();
        var lease = await f.TakeAsync();
        f.Store.GrantToOther(Key, TimeSpan.FromSeconds(60));
        await f.AdvanceUntil(() => lease.LossReason == LossReason.StoreLost, TimeSpan.FromSeconds(5));
        Assert.False(await lease.ReleaseAsync());
        Assert.Equal("other", f.Store.OwnerOf(Key)?.Replica);
    }

    [Fact]
    public async Task Forced_release_revokes_and_the_holders_release_frees_the_key()
    {
        await using var f = new LeaseFixture();
        var lease = await f.TakeAsync();
        var result = await f.Provider.RevokeAsync(Key);
        Assert.True(result.Found);
        await f.AdvanceUntil(() => lease.LossReason == LossReason.Revoked, TimeSpan.FromSeconds(5));
        Assert.NotNull(f.Store.OwnerOf(Key));
        Assert.False(await lease.ReleaseAsync());
        Assert.Null(f.Store.OwnerOf(Key));
    }

    [Fact]
    public async Task Server_clock_that_jumps_ends_the_leases_of_the_store()
    {
        await using var f = new LeaseFixture();
        f.Store.ServerTime = f.Time.GetUtcNow();
        var lease = await f.TakeAsync();
        f.Store.OnRenew = (_, answer, _) =>
        {
            f.Store.ServerTime = f.Time.GetUtcNow().AddSeconds(2);
            return new(answer());
        };
        await f.AdvanceUntil(() => lease.LossReason != LossReason.None, TimeSpan.FromSeconds(5));
        Assert.Equal(LossReason.ServerClockJumped, lease.LossReason);
        await Eventually.Holds(() => f.Log.Count(1006) == 1);
    }

    [Fact]
    public async Task Abandoned_handle_is_reported_and_dropped()
    {
        await using var f = new LeaseFixture();
        await f.Provider.StartAsync(default);
        Abandon(f);
        await Eventually.Holds(() =>
        {
            GC.Collect();
            GC.WaitForPendingFinalizers();
            return f.Log.Count(1005) == 1 && f.Store.OwnerOf(Key) is null;
        });
        Assert.Equal(0, f.Provider.HeldCount);
    }

    [Fact]
    public async Task Left_to_expire_is_neither_renewed_nor_released()
    {
        await using var f = new LeaseFixture();
        var lease = await f.TakeAsync();
        Assert.True(await lease.LeaveToExpireAsync(TimeSpan.FromSeconds(30)));
        await lease.DisposeAsync();
        Assert.False(lease.IsHeld);
        f.Fake.Advance(TimeSpan.FromSeconds(29));
        Assert.NotNull(f.Store.OwnerOf(Key));
        f.Fake.Advance(TimeSpan.FromSeconds(2));
        Assert.Null(f.Store.OwnerOf(Key));
        Assert.Equal((1, 0), (f.Store.Renewals, f.Store.Releases));
        Assert.Equal(LossReason.None, lease.LossReason);
    }

    [Fact]
    public async Task Disposing_of_the_provider_loses_held_leases_without_releasing_them()
    {
        var f = new LeaseFixture();
        var lease = await f.TakeAsync();
        var lost = lease.Lost;
        await f.DisposeAsync();
        Assert.Equal(LossReason.ProviderDisposed, lease.LossReason);
        await Eventually.Holds(() => lost.IsCancellationRequested);
        Assert.False(await lease.ReleaseAsync());
        Assert.NotNull(f.Store.OwnerOf(Key));
        Assert.Equal((0, 1), (f.Store.Releases, f.Store.Disposals));
        await Assert.ThrowsAsync<ObjectDisposedException>(async () => await f.Provider.TryAcquireAsync(Key, "late"));
    }

    private static void Abandon(LeaseFixture f)
    {
        var attempt = f.Provider.TryAcquireAsync(Key, "forgotten");
        Assert.True(attempt.IsCompletedSuccessfully);
        Assert.IsType<LockAttempt.Granted>(attempt.Result);
    }

    private sealed class JumpTime : TimeProvider
    {
        public long Offset { get; set; }

        public override long TimestampFrequency => TimeSpan.TicksPerSecond;

        public override long GetTimestamp() => TimeSpan.TicksPerHour + Offset;

        public override ITimer CreateTimer(TimerCallback callback, object? state, TimeSpan dueTime, TimeSpan period) =>
            System.CreateTimer(callback, state, Timeout.InfiniteTimeSpan, Timeout.InfiniteTimeSpan);
    }
}
