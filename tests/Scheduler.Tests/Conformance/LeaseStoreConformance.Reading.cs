using Scheduler.Locking;
using Scheduler.Testing;

namespace Scheduler.Tests.Conformance;

// What the store shows: one grant, lists of them, and its own id.
public abstract partial class LeaseStoreConformance<TFixture>
{
    [Fact]
    public async Task Read_shows_the_unexpired_grant_only()
    {
        var (first, second) = await ConnectTwoAsync();
        Assert.Null(await second.ReadAsync(Key));
        var grant = await first.AcquireAsync(Key, Long, "nightly");

        var record = await second.ReadAsync(Key);

        Assert.Equal((Key, first.Replica.Id, "nightly", grant.Number), (record!.Key, record.Holder, record.Purpose, record.Number));
        Assert.False(record.Revoked);
        Assert.InRange(record.Remaining, Long - Fixture.Slack, Long);
        await first.ReleaseAsync(grant);
        Assert.Null(await second.ReadAsync(Key));
        await first.AcquireAsync(Key, Short);
        await Eventually.Holds(async () => await second.ReadAsync(Key) is null, Short + Fixture.Slack);
    }

    [Fact]
    public async Task A_list_shows_the_unexpired_grants_with_the_prefix()
    {
        var (first, second) = await ConnectTwoAsync();
        string[] keys = ["job:a", "job:ab", "job:b", "jobs", "order:job:a", "Job:a"];
        foreach (var key in keys)
        {
            await first.AcquireAsync(LockKey.From(key), Long, $"for {key}");
        }
        await first.ReleaseAsync(await first.AcquireAsync(LockKey.From("job:released"), Long));
        await first.AcquireAsync(LockKey.From("job:expires"), Short);
        await Eventually.Holds(async () => await second.ReadAsync(LockKey.From("job:expires")) is null, Short + Fixture.Slack);

        Assert.Equal(keys.Order(StringComparer.Ordinal), await KeysAsync(second, ""));
        Assert.Equal(["job:a", "job:ab", "job:b"], await KeysAsync(second, "job:"));
        Assert.Equal(["job:a", "job:ab"], await KeysAsync(second, "job:a"));
        Assert.Equal(["order:job:a"], await KeysAsync(second, "order"));
        Assert.Empty(await KeysAsync(second, "job:c"));
        Assert.All(await second.ListAsync(""), g => Assert.Equal((first.Replica.Id, $"for {g.Key}"), (g.Holder, g.Purpose)));
    }

    [Theory]
    [InlineData(1)]
    [InlineData(7)]
    [InlineData(60)]
    [InlineData(1_000)]
    public async Task Pages_of_a_list_show_each_grant_once(int limit)
    {
        var (first, second) = await ConnectTwoAsync();
        var keys = Enumerable.Range(0, 60).Select(i => $"job:{i:000}").ToList();
        foreach (var key in keys)
        {
            await first.AcquireAsync(LockKey.From(key), Long);
        }
        await first.AcquireAsync(LockKey.From("other"), Long);

        var listed = await second.ListAsync("job:", limit);

        Assert.Equal(keys, listed.Select(g => g.Key.Value).Order(StringComparer.Ordinal));
    }

    [Fact]
    public async Task A_list_shows_revocations()
    {
        var client = await ConnectAsync();
        await client.RevokeAsync(await client.AcquireAsync(LockKey.From("job:revoked"), Long));
        await client.AcquireAsync(LockKey.From("job:kept"), Long);

        var listed = await client.ListAsync("job:");

        Assert.Equal("job:revoked", Assert.Single(listed, g => g.Revoked).Key.Value);
        Assert.Equal(2, listed.Count);
    }

    [Fact]
    public async Task The_id_of_a_store_stays()
    {
        var first = await ConnectAsync();
        var info = await first.Store.CheckAsync(Fixture.Use, Stop);
        Assert.NotEmpty(info.Id);
        Assert.True(info.Level <= first.Store.Traits.Level, $"{info.Level} is more than the store can reach at best.");

        Assert.Equal(info.Id, (await first.Store.CheckAsync(Fixture.Use, Stop)).Id);
        await first.AcquireAsync(Key, Long);
        await first.Store.DisposeAsync();
        var second = await ConnectAsync();
        Assert.Equal(info.Id, (await second.Store.CheckAsync(LockStoreUse.Used, Stop)).Id);
    }

    [Fact]
    public async Task First_checks_at_the_same_time_agree_on_the_id()
    {
        var stores = Enumerable
            .Range(0, 8)
            .Select(i => Fixture.CreateStore(Group, ReplicaIdentity.Create($"replica{i}"), _clientTime))
            .ToList();
        _toDispose.AddRange(stores);

        var infos = await Task.WhenAll(stores.Select(s => Task.Run(async () => await s.CheckAsync(Fixture.Use, Stop), Stop)));

        Assert.Single(infos.Select(i => i.Id).Distinct(StringComparer.Ordinal));
    }

    private static async Task<IEnumerable<string>> KeysAsync(StoreClient client, string prefix) =>
        (await client.ListAsync(prefix)).Select(g => g.Key.Value).Order(StringComparer.Ordinal);
}
