using Scheduler.Locking;
using Scheduler.Testing;

namespace Scheduler.Tests.Conformance;

// Rules 3 and 5 at the port: what a renewal may and may not do.
public abstract partial class LeaseStoreConformance<TFixture>
{
    [Fact]
    public async Task A_renewal_moves_the_end()
    {
        var (first, second) = await ConnectTwoAsync();
        var grant = await first.AcquireAsync(Key, TimeSpan.FromSeconds(10));

        Assert.Equal(RenewalOutcome.Renewed, Assert.Single(await first.RenewAsync(TimeSpan.FromSeconds(25), grant)));
        Assert.InRange((await second.ReadAsync(Key))!.Remaining, TimeSpan.FromSeconds(10), TimeSpan.FromSeconds(25));

        // The new duration counts from the renewal, so it can also bring the end nearer.
        Assert.Equal(RenewalOutcome.Renewed, Assert.Single(await first.RenewAsync(Short, grant)));
        await second.AcquireWhenFreeAsync(Key, Long, Short + Fixture.Slack);
    }

    [Fact]
    public async Task A_batch_answers_each_item_in_order()
    {
        var (first, second) = await ConnectTwoAsync();
        var kept = await first.AcquireAsync(LockKey.From("job:kept"), Long);
        var released = await first.AcquireAsync(LockKey.From("job:released"), Long);
        var taken = await first.AcquireAsync(LockKey.From("job:taken"), Long);
        var revoked = await first.AcquireAsync(LockKey.From("job:revoked"), Long);
        var alsoKept = await first.AcquireAsync(LockKey.From("job:also kept"), Long);
        await first.ReleaseAsync(released);
        await first.ReleaseAsync(taken);
        await second.AcquireAsync(taken.Key, TimeSpan.FromSeconds(10));
        await second.RevokeAsync(revoked);
        var neverGranted = new TestGrant(LockKey.From("job:never"), first.NewOwner(), 1);

        var outcomes = await first.RenewAsync(TimeSpan.FromSeconds(20), kept, released, taken, revoked, neverGranted, alsoKept);

        Assert.Equal(
            [
                RenewalOutcome.Renewed,
                RenewalOutcome.Lost,
                RenewalOutcome.Lost,
                RenewalOutcome.Revoked,
                RenewalOutcome.Lost,
                RenewalOutcome.Renewed,
            ],
            outcomes
        );
        Assert.Null(await second.ReadAsync(released.Key));
        Assert.Null(await second.ReadAsync(neverGranted.Key));
        var others = await second.ReadAsync(taken.Key);
        Assert.Equal(second.Replica.Id, others!.Holder);
        Assert.True(others.Remaining <= TimeSpan.FromSeconds(10), $"somebody else's grant was extended to {others.Remaining}");
    }

    [Fact]
    public async Task A_lost_grant_is_never_created_again()
    {
        var (first, second) = await ConnectTwoAsync();
        var grant = await first.AcquireAsync(Key, Short);
        await Eventually.Holds(async () => await second.ReadAsync(Key) is null, Short + Fixture.Slack);

        Assert.Equal(RenewalOutcome.Lost, Assert.Single(await first.RenewAsync(Long, grant)));

        Assert.Null(await second.ReadAsync(Key));
        await second.AcquireAsync(Key, Long);
        Assert.Equal(RenewalOutcome.Lost, Assert.Single(await first.RenewAsync(Long, grant)));
    }

    [Fact]
    public async Task An_earlier_acquisition_of_the_same_replica_renews_nothing()
    {
        var client = await ConnectAsync();
        var stale = await client.AcquireAsync(Key, Long);
        await client.ReleaseAsync(stale);
        await client.AcquireAsync(Key, TimeSpan.FromSeconds(10));

        Assert.Equal(RenewalOutcome.Lost, Assert.Single(await client.RenewAsync(Long, stale)));

        Assert.True((await client.ReadAsync(Key))!.Remaining <= TimeSpan.FromSeconds(10));
    }

    [Fact]
    public async Task The_largest_batch_is_renewed_in_one_call()
    {
        var client = await ConnectAsync();
        var count = Math.Min(client.Store.Traits.MaxRenewalBatch, 300);
        var grants = new List<TestGrant>();
        for (var i = 0; i < count; i++)
        {
            grants.Add(await client.AcquireAsync(LockKey.From($"job:{i}"), TimeSpan.FromSeconds(15)));
        }

        var outcomes = await client.RenewAsync(Long, [.. grants]);

        Assert.Equal(count, outcomes.Count);
        Assert.All(outcomes, o => Assert.Equal(RenewalOutcome.Renewed, o));
        Assert.All(await client.ListAsync("job:"), g => Assert.True(g.Remaining > TimeSpan.FromSeconds(15), $"{g.Key}: {g.Remaining}"));
    }
}
