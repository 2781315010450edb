using Scheduler.Locking;
using Scheduler.Testing;

namespace Scheduler.Tests.Conformance;

// Rule 5, lost is final: releases, forced releases, and who was refused meanwhile.
public abstract partial class LeaseStoreConformance<TFixture>
{
    [Fact]
    public async Task A_released_key_is_free_at_once_and_releasing_twice_is_harmless()
    {
        var (first, second) = await ConnectTwoAsync();
        var grant = await first.AcquireAsync(Key, Long);

        Assert.True((await first.ReleaseAsync(grant)).Released);
        Assert.False((await first.ReleaseAsync(grant)).Released);
        await second.AcquireAsync(Key, Long);
        Assert.False((await first.ReleaseAsync(grant)).Released);

        Assert.Equal(second.Replica.Id, (await first.ReadAsync(Key))!.Holder);
    }

    [Fact]
    public async Task Only_the_owner_of_the_grant_releases_it()
    {
        var (first, second) = await ConnectTwoAsync();
        var stale = await first.AcquireAsync(Key, Long);
        await first.ReleaseAsync(stale);
        var present = await first.AcquireAsync(Key, Long);

        Assert.False((await first.ReleaseAsync(stale)).Released);
        Assert.False((await second.Store.ReleaseAsync(Key, second.NewOwner(), Stop)).Released);

        Assert.Equal(present.Number, (await second.ReadAsync(Key))!.Number);
        await second.ExpectHeldAsync(Key);
    }

    [Fact]
    public async Task An_expired_grant_is_not_released()
    {
        var client = await ConnectAsync();
        var grant = await client.AcquireAsync(Key, Short);
        await Eventually.Holds(async () => await client.ReadAsync(Key) is null, Short + Fixture.Slack);

        Assert.False((await client.ReleaseAsync(grant)).Released);
    }

    [Fact]
    public async Task A_release_says_whether_another_replica_was_refused()
    {
        var (first, second) = await ConnectTwoAsync();
        var quiet = await first.AcquireAsync(Key, Long);
        await first.ExpectHeldAsync(Key);
        Assert.Equal(new ReleaseResult(Released: true, Contended: false), await first.ReleaseAsync(quiet));

        var contended = await first.AcquireAsync(Key, Long);
        await second.ExpectHeldAsync(Key);
        await first.RenewAsync(Long, contended);
        Assert.Equal(new ReleaseResult(Released: true, Contended: true), await first.ReleaseAsync(contended));

        var after = await first.AcquireAsync(Key, Long);
        Assert.Equal(new ReleaseResult(Released: true, Contended: false), await first.ReleaseAsync(after));
    }

    [Fact]
    public async Task A_revoked_grant_is_not_renewed_and_frees_the_key_when_its_holder_releases()
    {
        var (first, second) = await ConnectTwoAsync();
        var grant = await first.AcquireAsync(Key, TimeSpan.FromSeconds(20));

        var revoked = await second.RevokeAsync(grant);

        Assert.True(revoked.Found);
        Assert.InRange(revoked.FreeAfter, TimeSpan.FromSeconds(20) - Fixture.Slack, TimeSpan.FromSeconds(20));
        Assert.True((await second.ReadAsync(Key))!.Revoked);
        Assert.Equal(RenewalOutcome.Revoked, Assert.Single(await first.RenewAsync(Long, grant)));
        Assert.Equal(RenewalOutcome.Revoked, Assert.Single(await first.RenewAsync(Long, grant)));
        Assert.True((await second.ReadAsync(Key))!.Remaining <= TimeSpan.FromSeconds(20), "a revoked grant was extended");
        await second.ExpectHeldAsync(Key);

        Assert.True((await first.ReleaseAsync(grant)).Released);
        var next = await second.AcquireAsync(Key, Long);
        Assert.False((await first.ReadAsync(Key))!.Revoked);
        Assert.Equal(RenewalOutcome.Renewed, Assert.Single(await second.RenewAsync(Long, next)));
    }

    [Fact]
    public async Task A_revoked_grant_whose_holder_is_silent_ends_with_its_time()
    {
        var (first, second) = await ConnectTwoAsync();
        var grant = await first.AcquireAsync(Key, Short);
        await second.RevokeAsync(grant);

        var next = await second.AcquireWhenFreeAsync(Key, Long, Short + Fixture.Slack);

        Assert.Equal(RenewalOutcome.Lost, Assert.Single(await first.RenewAsync(Long, grant)));
        Assert.Equal(RenewalOutcome.Renewed, Assert.Single(await second.RenewAsync(Long, next)));
    }

    [Fact]
    public async Task Revoking_an_earlier_grant_changes_nothing()
    {
        var (first, second) = await ConnectTwoAsync();
        var earlier = await first.AcquireAsync(Key, Long);
        await first.ReleaseAsync(earlier);
        Assert.Equal(default, await second.RevokeAsync(earlier));
        var present = await first.AcquireAsync(Key, Long);

        Assert.False((await second.RevokeAsync(earlier)).Found);

        Assert.False((await second.ReadAsync(Key))!.Revoked);
        Assert.Equal(RenewalOutcome.Renewed, Assert.Single(await first.RenewAsync(Long, present)));
    }

    [Fact]
    public async Task Revoking_twice_is_the_same_as_once()
    {
        var client = await ConnectAsync();
        var grant = await client.AcquireAsync(Key, Long);

        Assert.True((await client.RevokeAsync(grant)).Found);
        Assert.True((await client.RevokeAsync(grant)).Found);

        Assert.Equal(RenewalOutcome.Revoked, Assert.Single(await client.RenewAsync(Long, grant)));
        Assert.True((await client.ReleaseAsync(grant)).Released);
    }
}
