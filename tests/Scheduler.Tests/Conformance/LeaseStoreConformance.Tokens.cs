using Scheduler.Locking;
using Scheduler.Testing;

namespace Scheduler.Tests.Conformance;

// Rule 2, tokens grow: across release, expiry, reconnects, restarts.
public abstract partial class LeaseStoreConformance<TFixture>
{
    [Fact]
    public async Task Numbers_fit_a_token()
    {
        var grant = await (await ConnectAsync()).AcquireAsync(Key, Long);

        Assert.InRange(grant.Number, 1, FencingToken.MaxNumber);
    }

    [Fact]
    public async Task Numbers_grow_across_releases()
    {
        var (first, second) = await ConnectTwoAsync();
        var last = 0L;
        for (var i = 0; i < 20; i++)
        {
            var client = i % 2 == 0 ? first : second;
            var grant = await client.AcquireAsync(Key, Long);
            Assert.True(grant.Number > last, $"{grant.Number} after {last}");
            last = grant.Number;
            await client.ReleaseAsync(grant);
        }
    }

    [Fact]
    public async Task Numbers_grow_across_expiry()
    {
        var (first, second) = await ConnectTwoAsync();
        var expired = await first.AcquireAsync(Key, Short);

        var next = await second.AcquireWhenFreeAsync(Key, Long, Short + Fixture.Slack);

        Assert.True(next.Number > expired.Number, $"{next.Number} after {expired.Number}");
    }

    [Fact]
    public async Task Numbers_grow_across_reconnects()
    {
        var first = await ConnectAsync();
        var released = await first.AcquireAsync(Key, Long);
        await first.ReleaseAsync(released);
        var abandoned = await first.AcquireAsync(LockKey.From("job:abandoned"), Short);
        await first.Store.DisposeAsync();

        var second = await ConnectAsync();

        Assert.True((await second.AcquireAsync(Key, Long)).Number > released.Number);
        var next = await second.AcquireWhenFreeAsync(abandoned.Key, Long, Short + Fixture.Slack);
        Assert.True(next.Number > abandoned.Number, $"{next.Number} after {abandoned.Number}");
    }

    [Fact]
    public async Task A_renewal_keeps_the_number()
    {
        var client = await ConnectAsync();
        var grant = await client.AcquireAsync(Key, Long);

        await client.RenewAsync(Long, grant);

        Assert.Equal(grant.Number, (await client.ReadAsync(Key))!.Number);
    }

    [Fact]
    public async Task A_restarted_server_neither_forgets_a_grant_nor_repeats_a_number()
    {
        Assert.SkipUnless(Fixture.CanRestartServer, "This store has no server of its own.");
        Assert.SkipUnless(Fixture.KeepsGrantsOverRestart, "A restart ends all sessions, and their grants with them.");
        var client = await ConnectAsync();
        var released = await client.AcquireAsync(LockKey.From("job:released"), Long);
        await client.ReleaseAsync(released);
        var kept = await client.AcquireAsync(Key, Long);

        await Fixture.StopServerAsync();
        try
        {
            var answer = await client.TryAsync(Key, client.NewOwner(), Long).AsTask().WaitAsync(TimeSpan.FromSeconds(15), Stop);
            Assert.IsType<AcquireResult.Unavailable>(answer);
            await Assert.ThrowsAsync<StoreUnavailableException>(() => client.ReadAsync(Key).WaitAsync(TimeSpan.FromSeconds(15), Stop));
        }
        finally
        {
            await Fixture.StartServerAsync();
        }
        await UsableAgainAsync(client);

        var other = await ConnectAsync();
        await other.ExpectHeldAsync(Key);
        Assert.Equal(kept.Number, (await other.ReadAsync(Key))!.Number);
        Assert.True((await other.AcquireAsync(released.Key, Long)).Number > released.Number);
        Assert.True((await client.ReleaseAsync(kept)).Released);
        Assert.True((await other.AcquireAsync(Key, Long)).Number > kept.Number);
    }

    /// <summary>Waits until a client has found its server again: Core checks a store that was down before it uses it.</summary>
    private async Task UsableAgainAsync(StoreClient client) =>
        await Eventually.Holds(
            async () =>
            {
                try
                {
                    await client.Store.CheckAsync(Fixture.Use, Stop);
                    return true;
                }
                catch (StoreUnavailableException problem)
                {
                    Assert.False(problem.IsPermanent, problem.Message);
                    return false;
                }
            },
            within: TimeSpan.FromSeconds(30),
            what: "the client uses the restarted server"
        );
}
