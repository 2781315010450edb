using System.Diagnostics;
using Scheduler.Locking;
using Scheduler.Testing;
using Scheduler.Testing.Servers;

namespace Scheduler.Tests.Redis;

// Rule 1, per node: one that may have forgotten does not count until every lease of before is over; the others go on.
public sealed class RedlockForgetTests
{
    [Theory]
    [InlineData("restart")]
    [InlineData("flush")]
    [InlineData("snapshot")]
    public async Task A_node_that_forgot_does_not_vote_for_a_second_holder(string how)
    {
        var persistence = how == "snapshot" ? RedisPersistence.Snapshot : RedisPersistence.None;
        await using var cluster = await RedlockCluster.StartAsync(3, persistence);
        var (first, second) = (await cluster.ConnectAsync(), await cluster.ConnectAsync());
        await cluster.Servers[2].KillAsync();
        if (how == "snapshot")
        {
            await cluster.Servers[1].CommandAsync("SAVE");
        }
        // On the nodes 0 and 1 only, so that 1 and 2 could make a majority that knows nothing of it.
        var grant = await first.AcquireAsync();
        await cluster.Servers[2].RestartAsync(keepData: true);

        var forgot = Stopwatch.StartNew();
        await ForgetAsync(cluster.Servers[1], how);

        while (forgot.Elapsed < RedlockCluster.LongestLease - TimeSpan.FromMilliseconds(300))
        {
            Assert.False(await second.TryAsync() is AcquireResult.Granted, $"granted {forgot.Elapsed} after the node forgot");
            Assert.NotEqual(RenewalOutcome.Renewed, await OutcomeAsync(first, grant));
            await CheckAsync(second);
        }
        await second.CheckUntilUsableAsync();
        AcquireResult.Granted? next = null;
        await Eventually.Holds(async () => (next = await second.TryAsync() as AcquireResult.Granted) is not null);
        Assert.True(next!.Number > grant.Number, $"{next.Number} after {grant.Number}");
    }

    [Fact]
    public async Task Without_State_too_an_empty_node_among_others_that_know_the_store_waits()
    {
        await using var cluster = await RedlockCluster.StartAsync(3);
        var client = await cluster.ConnectAsync();
        await Eventually.Passes(RedlockCluster.LongestLease + TimeSpan.FromSeconds(2), TestContext.Current.CancellationToken);
        await cluster.Servers[0].CommandAsync("FLUSHALL");
        await cluster.Servers[1].CommandAsync("FLUSHALL");

        var fresh = cluster.NewClient();
        var refusal = await fresh.ExpectRefusedAsync(LockStoreUse.Unknown);

        Assert.InRange(refusal.RetryAfter!.Value, TimeSpan.FromMilliseconds(1), RedlockCluster.LongestLease);
        Assert.False(refusal.IsPermanent);
        Assert.IsNotType<AcquireResult.Granted>(await client.TryAsync());
    }

    [Fact]
    public async Task A_minority_that_forgot_stops_nothing_and_counts_again_after_its_wait()
    {
        await using var cluster = await RedlockCluster.StartAsync(3);
        var client = await cluster.ConnectAsync();
        var kept = await client.AcquireAsync("job:kept");

        await cluster.Servers[0].RestartAsync(keepData: false);

        Assert.Equal(RenewalOutcome.Renewed, await client.RenewAsync(kept));
        // What the node lost does not come back to it.
        Assert.Equal(0, await cluster.HoldersAsync("job:kept", [0]));
        await Eventually.Holds(async () =>
        {
            await client.ReleaseAsync(await client.AcquireAsync());
            return client.Log.Count(2051) > 3;
        });
        await client.AcquireAsync("job:after");
        await Eventually.Holds(async () => await cluster.HoldersAsync("job:after", [0]) == 1);
    }

    [Fact]
    public async Task The_id_stays_while_the_nodes_are_replaced_one_after_another()
    {
        await using var cluster = await RedlockCluster.StartAsync(3);
        var client = await cluster.ConnectAsync();
        var id = (await client.CheckAsync()).Id;
        foreach (var server in cluster.Servers)
        {
            await server.RestartAsync(keepData: false);
            await Eventually.Holds(async () =>
            {
                await client.CheckAsync();
                return await server.CommandAsync("HGET", "test:redlock", "id") == id;
            });
        }

        Assert.Equal(id, (await cluster.NewClient().CheckUntilUsableAsync()).Id);
    }

    private static Task ForgetAsync(RedisServer server, string how) =>
        how == "flush" ? server.CommandAsync("FLUSHALL")
        : how == "restart" ? server.RestartAsync(keepData: false)
        : KillAndRestartAsync(server);

    private static async Task KillAndRestartAsync(RedisServer server)
    {
        // Killed, so that the snapshot is the one of before the grant.
        await server.KillAsync();
        await server.RestartAsync(keepData: true);
    }

    private static async Task CheckAsync(RedlockTestClient client)
    {
        try
        {
            await client.CheckAsync();
        }
        catch (StoreUnavailableException refusal)
        {
            Assert.False(refusal.IsPermanent, refusal.Message);
        }
    }

    private static async Task<RenewalOutcome> OutcomeAsync(RedlockTestClient client, RedlockGrant grant)
    {
        try
        {
            return await client.RenewAsync(grant);
        }
        catch (StoreUnavailableException)
        {
            return RenewalOutcome.Unknown;
        }
    }
}
