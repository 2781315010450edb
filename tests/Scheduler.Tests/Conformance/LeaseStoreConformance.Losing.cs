using System.Runtime.CompilerServices;
using Microsoft.Extensions.Logging;
using Scheduler.Leases;
using Scheduler.Locking;
using Scheduler.Testing;

namespace Scheduler.Tests.Conformance;

// Rules 5, 9 and 11: lost is final, abandoned handles, the end of a replica.
public abstract partial class LeaseStoreConformance<TFixture>
{
    [Fact]
    public async Task Rule_05_a_lost_lease_is_never_revived_and_touches_nobody_elses()
    {
        var (first, second) = await StartTwoReplicasAsync();
        var lease = await first.AcquireAsync(Key, TimeSpan.FromSeconds(2));
        // The server forgets this grant, as after a flush or by another's hand.
        Assert.True((await second.Way.ReleaseAsync(Key, lease.Owner, Stop)).Released);

        await FiresAsync(lease, Bound);

        Assert.False(lease.IsHeld);
        Assert.NotEqual(LossReason.None, lease.LossReason);
        var reason = lease.LossReason;
        var next = await second.AcquireAsync(Key, Long);
        Assert.False(await lease.ReleaseAsync(Stop));
        Assert.False(await lease.ReleaseAsync(Stop));
        await lease.DisposeAsync();
        Assert.Equal(reason, lease.LossReason);
        Assert.Throws<LeaseLostException>(lease.ThrowIfLost);
        Assert.True(next.IsHeld);
        Assert.Equal(next.Token.Number, (await first.Locks.ReadAsync(Key, Stop))!.Number);
    }

    [Fact]
    public async Task Rule_05_releasing_twice_is_harmless()
    {
        var (first, second) = await StartTwoReplicasAsync();
        var lease = await first.AcquireAsync(Key, Long);
        Assert.True(await lease.ReleaseAsync(Stop));
        var next = await second.AcquireAsync(Key, Long);

        await lease.ReleaseAsync(Stop);
        await lease.DisposeAsync();

        Assert.True(next.IsHeld);
        Assert.Equal(next.Token.Number, (await first.Locks.ReadAsync(Key, Stop))!.Number);
    }

    [Fact]
    public async Task Rule_05_a_forced_release_tells_the_holder_and_frees_the_key_when_it_has_ended()
    {
        var (first, second) = await StartTwoReplicasAsync(o => o.RenewalInterval = TimeSpan.FromMilliseconds(100));
        var lease = await first.AcquireAsync(Key, Long);

        var revoked = await second.Locks.RevokeAsync(Key, Stop);

        Assert.True(revoked.Found);
        Assert.InRange(revoked.FreeAfter, TimeSpan.FromSeconds(1), Long);
        await FiresAsync(lease, Bound);
        Assert.False(lease.IsHeld);
        Assert.Equal(LossReason.Revoked, lease.LossReason);
        // Its body still runs.
        Assert.IsType<LockAttempt.Held>(await second.Locks.TryAcquireAsync(Key, "next", Long, Stop));
        await lease.ReleaseAsync(Stop);
        var next = await second.AcquireWhenFreeAsync(Key, Long, Fixture.Slack);
        Assert.True(next.Token > lease.Token);
    }

    [Fact]
    public async Task Rule_05_a_forced_release_of_a_free_key_finds_nothing()
    {
        var replica = await StartReplicaAsync();

        Assert.Equal(default, await replica.Locks.RevokeAsync(Key, Stop));
    }

    [Fact]
    public async Task Rule_09_an_abandoned_lease_is_not_renewed_and_is_reported()
    {
        var (first, second) = await StartTwoReplicasAsync();
        var kept = await first.AcquireAsync(LockKey.From("job:kept"), TimeSpan.FromSeconds(2));
        await AbandonAsync(first, Key, TimeSpan.FromSeconds(2));

        await Eventually.Holds(
            async () =>
            {
                GC.Collect();
                GC.WaitForPendingFinalizers();
                return await second.Locks.TryAcquireAsync(Key, "test", Long) is LockAttempt.Granted;
            },
            within: TimeSpan.FromSeconds(2) + Fixture.Slack + Bound,
            what: "the abandoned key is free"
        );

        await Eventually.Holds(
            () => first.Log.Entries.Any(e => e.Level >= LogLevel.Warning && e.Message.Contains(Key.Value, StringComparison.Ordinal)),
            Bound,
            "the abandoned lease is in the log"
        );
        Assert.True(kept.IsHeld);
    }

    [Fact]
    public async Task Rule_11_a_replica_that_ends_loses_its_leases()
    {
        var (first, second) = await StartTwoReplicasAsync();
        var lease = await first.AcquireAsync(Key, TimeSpan.FromSeconds(1));

        await first.Locks.DisposeAsync();

        Assert.False(lease.IsHeld);
        await FiresAsync(lease, Bound);
        Assert.Equal(LossReason.ProviderDisposed, lease.LossReason);
        await second.AcquireWhenFreeAsync(Key, Long, TimeSpan.FromSeconds(1) + Fixture.Slack);
    }

    [Fact]
    public async Task Rule_11_the_lock_of_a_body_that_does_not_end_stays_until_the_replica_is_gone()
    {
        var (first, second) = await StartTwoReplicasAsync();
        var lease = await first.AcquireAsync(Key, TimeSpan.FromSeconds(1));
        var since = TimeProvider.System.GetTimestamp();

        while (TimeProvider.System.GetElapsedTime(since) < TimeSpan.FromSeconds(2) && lease.IsHeld)
        {
            Assert.False(await second.Locks.TryAcquireAsync(Key, "next", Long, Stop) is LockAttempt.Granted && lease.IsHeld);
        }

        Assert.True(lease.IsHeld, $"lost: {lease.LossReason}");
    }

    // A method of its own, so that no local variable of the test keeps the handle alive.
    [MethodImpl(MethodImplOptions.NoInlining)]
    private static async Task AbandonAsync(TestReplica replica, LockKey key, TimeSpan duration) =>
        Assert.IsType<LockAttempt.Granted>(await replica.Locks.TryAcquireAsync(key, "abandoned", duration));
}
