using System.Globalization;
using Scheduler.Locking;
using Scheduler.Redis.Redlock;
using Scheduler.Testing;
using Scheduler.Testing.Servers;

namespace Scheduler.Tests.Redis;

// What an operator is told about servers that cannot form a Redlock.
public sealed class RedlockSetUpTests
{
    private const string Canary = "canary-51d2-secret";

    [Theory]
    [InlineData("a:1;b:2", "2 endpoints are named; at least 3")]
    [InlineData("", "0 endpoints are named; at least 3")]
    [InlineData("a:1;b:2;c:3;d:4", "an even number survives no more failures than 3 do")]
    [InlineData("a:1;b:2;A:1", "Endpoints 0 and 2 are both A:1")]
    [InlineData("a;b:2;a:6379", "Endpoints 0 and 2 are both a:6379")]
    [InlineData("a:1;b:2,c:3;d:4", "Endpoint 1 (not shown here) names 2 servers")]
    [InlineData("a:1;;c:3", "Endpoint 1 (not shown here) cannot be read")]
    [InlineData("a:1,password=canary-51d2-secret,nonsense=7;b:2;c:3", "Endpoint 0 (not shown here) cannot be read")]
    public void Endpoints_that_cannot_form_a_majority_are_refused_with_the_reason(string endpoints, string expected)
    {
        var problems = RedlockEndpoints.Problems(endpoints.Length == 0 ? [] : endpoints.Split(';'));

        Assert.Contains(problems, p => p.Contains(expected, StringComparison.Ordinal));
        Assert.DoesNotContain(problems, p => p.Contains(Canary, StringComparison.Ordinal));
    }

    [Fact]
    public void All_problems_are_told_together() => Assert.Equal(3, RedlockEndpoints.Problems(["a:1", "a:1", "b:1,c:1", "d:4"]).Count);

    [Fact]
    public void Three_and_five_servers_are_allowed()
    {
        Assert.Empty(RedlockEndpoints.Problems(["a:1,password=x", "a:2", "b:1"]));
        Assert.Empty(RedlockEndpoints.Problems(["a", "b", "c", "d", "e,ssl=true"]));
    }

    [Fact]
    public async Task The_same_server_behind_two_endpoints_is_refused_for_good()
    {
        await using var cluster = await RedlockCluster.StartAsync(2);
        var port = cluster.Servers[0].Port.ToString(CultureInfo.InvariantCulture);
        var client = cluster.NewClient(endpoints: [cluster.Servers[0].Endpoint, cluster.Servers[1].Endpoint, $"localhost:{port}"]);

        var refusal = await RefusedForGoodAsync(client);

        Assert.True(refusal.IsPermanent);
        Assert.Contains(cluster.Servers[0].Endpoint, refusal.Message, StringComparison.Ordinal);
        Assert.Contains($"localhost:{port}", refusal.Message, StringComparison.Ordinal);
        Assert.Contains("same Redis server", refusal.Message, StringComparison.Ordinal);
        Assert.Equal(1, client.Log.Count(2052));
    }

    [Fact]
    public async Task A_minority_that_is_set_up_wrongly_is_named_and_does_not_count()
    {
        await using var cluster = await RedlockCluster.StartAsync(2);
        await using var wrong = await RedisServer.StartAsync(new RedisServerOptions { Arguments = ["--maxmemory-policy", "allkeys-lru"] });
        var client = cluster.NewClient(endpoints: [.. cluster.Servers.Select(s => s.Endpoint), wrong.Endpoint]);

        var info = await client.CheckUntilUsableAsync(LockStoreUse.Unused);

        Assert.Contains(
            info.Warnings,
            w => w.Contains(wrong.Endpoint, StringComparison.Ordinal) && w.Contains("allkeys-lru", StringComparison.Ordinal)
        );
        await client.AcquireAsync();
        Assert.Equal("0", await wrong.CommandAsync("EXISTS", "test:lock:job:a"));
    }

    [Fact]
    public async Task A_majority_that_is_set_up_wrongly_is_refused_for_good_without_its_secrets()
    {
        await using var good = await RedisServer.StartAsync();
        await using var locked = await RedisServer.StartAsync(new RedisServerOptions { Password = "right" });
        await using var evicting = await RedisServer.StartAsync(
            new RedisServerOptions { Arguments = ["--maxmemory-policy", "allkeys-lru"] }
        );
        await using var cluster = await RedlockCluster.StartAsync(0);
        var client = cluster.NewClient(endpoints: [good.Endpoint, $"{locked.Endpoint},password={Canary}", evicting.Endpoint]);

        var refusal = await RefusedForGoodAsync(client);

        Assert.True(refusal.IsPermanent, refusal.Message);
        Assert.Contains(locked.Endpoint, refusal.Message, StringComparison.Ordinal);
        Assert.Contains(evicting.Endpoint, refusal.Message, StringComparison.Ordinal);
        Assert.DoesNotContain(Canary, refusal.ToString(), StringComparison.Ordinal);
        Assert.DoesNotContain(client.Log.Entries, e => $"{e.Message}{e.Exception}".Contains(Canary, StringComparison.Ordinal));
    }

    [Fact]
    public async Task Nothing_is_granted_before_the_first_check()
    {
        await using var cluster = await RedlockCluster.StartAsync(3);

        Assert.IsType<AcquireResult.Unavailable>(await cluster.NewClient().TryAsync());

        Assert.Equal(0, await cluster.HoldersAsync("job:a"));
    }

    // Asked again, as Core does, while a server is too slow to answer in its time.
    private static async Task<StoreUnavailableException> RefusedForGoodAsync(RedlockTestClient client)
    {
        StoreUnavailableException? refusal = null;
        await Eventually.Holds(async () => (refusal = await client.ExpectRefusedAsync(LockStoreUse.Unused)).IsPermanent);
        return refusal!;
    }
}
