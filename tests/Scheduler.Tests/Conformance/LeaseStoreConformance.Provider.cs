using Scheduler.Leases;
using Scheduler.Locking;
using Scheduler.Testing;

namespace Scheduler.Tests.Conformance;

// The second layer: the store as Core's lock provider uses it. Rules 2 and 12.
public abstract partial class LeaseStoreConformance<TFixture>
{
    /// <summary>How long a test waits for something that comes at once on an idle machine.</summary>
    private static readonly TimeSpan Bound = TimeSpan.FromSeconds(15);

    private async Task<TestReplica> StartReplicaAsync(Action<LeaseOptions>? change = null)
    {
        var identity = ReplicaIdentity.Create("replica");
        var time = new PacedTime();
        var way = new FaultyLeaseStore(Fixture.CreateStore(Group, identity, time));
        var log = new LogCapture();
        var options = new LeaseOptions { ProbeInterval = TimeSpan.FromMilliseconds(50) };
        change?.Invoke(options);
        var locks = new LockProvider(way, options, identity, time, log, new NewStore { Use = Fixture.Use });
        var replica = new TestReplica(identity, locks, way, time, log);
        _toDispose.Add(replica);
        await locks.StartAsync(Stop);
        await Eventually.Holds(() => locks.Health.IsUp && locks.Info is not null, Bound, "the lock provider has checked its store");
        return replica;
    }

    private async Task<(TestReplica First, TestReplica Second)> StartTwoReplicasAsync(Action<LeaseOptions>? change = null) =>
        (await StartReplicaAsync(change), await StartReplicaAsync(change));

    private static Task FiresAsync(Lease lease, TimeSpan within) =>
        Eventually.Holds(() => lease.Lost.IsCancellationRequested, within, "Lost fires");

    [Fact]
    public async Task Rule_02_tokens_grow_across_replicas()
    {
        var (first, second) = await StartTwoReplicasAsync();
        var last = default(FencingToken);
        for (var i = 0; i < 10; i++)
        {
            var lease = await (i % 2 == 0 ? first : second).AcquireAsync(Key, Long);
            Assert.True(lease.Token > last, $"{lease.Token} after {last}");
            last = lease.Token;
            Assert.True(await lease.ReleaseAsync(Stop));
        }
        var expiring = await first.AcquireAsync(Key, Short);
        first.Way.GoSilent(commandsArrive: false);
        var next = await second.AcquireWhenFreeAsync(Key, Long, Short + Fixture.Slack);
        Assert.True(next.Token > expiring.Token, $"{next.Token} after {expiring.Token}");
    }

    [Fact]
    public async Task Rule_12_a_store_says_what_it_is_worth()
    {
        var replica = await StartReplicaAsync();
        var (traits, info) = (replica.Locks.Traits, replica.Locks.Info!);

        // As rule 12 lists them; a new store adds itself here.
        var expected = traits.Name switch
        {
            "memory" or "redis" or "redlock" or "postgres-session" => Level.Efficiency,
            "sqlite" or "postgres" => Level.Correctness,
            var other => throw new InvalidOperationException($"Say here which level rule 12 gives to '{other}'."),
        };
        Assert.Equal(expected, traits.Level);
        Assert.Equal(expected, info.Level);
        Assert.NotEmpty(info.Id);
        Assert.InRange(traits.MaxRenewalBatch, 1, 10_000);
        Assert.InRange(traits.PollInterval, TimeSpan.FromMilliseconds(1), TimeSpan.FromSeconds(5));
    }

    [Fact]
    public async Task A_lease_shows_what_it_is()
    {
        var (first, second) = await StartTwoReplicasAsync();

        var lease = await first.AcquireAsync(Key, Long, "nightly");

        Assert.Equal((Key, first.Identity.Id, "nightly"), (lease.Key, lease.Owner.Replica, lease.Purpose));
        Assert.True(lease.IsHeld);
        Assert.Equal(LossReason.None, lease.LossReason);
        Assert.InRange(lease.Remaining, TimeSpan.FromSeconds(1), Long);
        lease.ThrowIfLost();
        var record = await second.Locks.ReadAsync(Key, Stop);
        Assert.Equal((lease.Token.Number, "nightly"), (record!.Number, record.Purpose));
        Assert.Equal(Key, Assert.Single((await second.Locks.ListAsync("job:", 10, null, Stop)).Items).Key);
        var held = Assert.IsType<LockAttempt.Held>(await second.Locks.TryAcquireAsync(Key, "other", cancellationToken: Stop));
        Assert.Equal((first.Identity.Id, "nightly"), (held.Holder, held.Purpose));

        Assert.True(await lease.ReleaseAsync(Stop));

        Assert.False(lease.IsHeld);
        Assert.False(lease.Lost.IsCancellationRequested);
        Assert.Equal(TimeSpan.Zero, lease.Remaining);
    }

    [Fact]
    public async Task A_lease_that_is_left_to_expire_is_neither_renewed_nor_released()
    {
        var (first, second) = await StartTwoReplicasAsync();
        var lease = await first.AcquireAsync(Key, Long);
        var left = TimeProvider.System.GetTimestamp();

        Assert.True(await lease.LeaveToExpireAsync(Short, Stop));
        await lease.DisposeAsync();

        await second.AcquireWhenFreeAsync(Key, Long, Short + Fixture.Slack);
        Assert.True(TimeProvider.System.GetElapsedTime(left) >= Short - TimeSpan.FromMilliseconds(2), "the grant was released");
    }
}
