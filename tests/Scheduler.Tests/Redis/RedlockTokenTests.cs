using System.Globalization;
using Scheduler.Redis.Redlock;
using Scheduler.Testing;

namespace Scheduler.Tests.Redis;

// Rule 2: numbers of a key grow over all replicas, whatever their clocks and whichever majority granted.
public sealed class RedlockTokenTests
{
    [Fact]
    public async Task Numbers_grow_although_the_replicas_clocks_are_apart()
    {
        await using var cluster = await RedlockCluster.StartAsync(3);
        RedlockTestClient[] clients =
        [
            await cluster.ConnectAsync(),
            await cluster.ConnectAsync(new SkewedTime(TimeSpan.FromHours(2))),
            await cluster.ConnectAsync(new SkewedTime(TimeSpan.FromHours(-2))),
        ];

        var last = 0L;
        for (var i = 0; i < 30; i++)
        {
            var client = clients[i % clients.Length];
            var grant = await client.AcquireAsync();
            Assert.True(grant.Number > last, $"{grant.Number} after {last}");
            last = grant.Number;
            await client.ReleaseAsync(grant);
        }
    }

    [Fact]
    public async Task Numbers_grow_although_different_majorities_grant()
    {
        await using var cluster = await RedlockCluster.StartAsync(5);
        var client = await cluster.ConnectAsync();
        var behind = await cluster.ConnectAsync(new SkewedTime(TimeSpan.FromDays(-1)));

        var last = 0L;
        for (var i = 0; i < 10; i++)
        {
            // Two nodes hear nothing of this grant; afterwards they are among those that decide.
            var (one, other) = (cluster.Servers[i % 5], cluster.Servers[(i + 1) % 5]);
            one.Freeze();
            other.Freeze();
            var asking = i % 2 == 0 ? client : behind;
            var grant = await asking.AcquireAsync();
            Assert.True(grant.Number > last, $"{grant.Number} after {last}");
            last = grant.Number;
            await asking.ReleaseAsync(grant);
            one.Thaw();
            other.Thaw();
            await client.CheckUntilUsableAsync();
            await behind.CheckUntilUsableAsync();
        }
    }

    [Fact]
    public async Task Nodes_whose_counters_disagree_are_raised_to_the_largest()
    {
        await using var cluster = await RedlockCluster.StartAsync(3);
        var client = await cluster.ConnectAsync();
        await client.ReleaseAsync(await client.AcquireAsync());
        const long Ahead = 5_000_000_000_000_000;
        // Each node knows another last number, all of them above any clock.
        for (var i = 0; i < 3; i++)
        {
            var counter = await CounterAsync(cluster, i);
            await cluster.Servers[i].CommandAsync("SET", counter, (Ahead + (100 * i)).ToString(CultureInfo.InvariantCulture));
        }

        var grant = await client.AcquireAsync();

        Assert.True(grant.Number > Ahead, $"{grant.Number}");
        await Eventually.Holds(async () => (await NumbersAsync(cluster)).All(n => n == grant.Number));
        await client.ReleaseAsync(grant);
        var highest = grant.Number;
        for (var i = 0; i < 5; i++)
        {
            var next = await client.AcquireAsync();
            Assert.True(next.Number > highest, $"{next.Number} after {highest}");
            highest = next.Number;
            await client.ReleaseAsync(next);
        }
    }

    [Fact]
    public async Task With_two_nodes_left_that_disagree_the_larger_number_is_confirmed_on_both()
    {
        await using var cluster = await RedlockCluster.StartAsync(3);
        var client = await cluster.ConnectAsync();
        await client.ReleaseAsync(await client.AcquireAsync());
        const long Ahead = 5_000_000_000_000_000;
        await cluster.Servers[0].CommandAsync("SET", await CounterAsync(cluster, 0), Ahead.ToString(CultureInfo.InvariantCulture));
        await cluster.Servers[2].KillAsync();

        var grant = await client.AcquireAsync();

        Assert.Equal(Ahead + 1, grant.Number);
        Assert.All(await NumbersAsync(cluster, 2), n => Assert.Equal(grant.Number, n));
        Assert.Equal((Ahead + 1).ToString(CultureInfo.InvariantCulture), await CounterValueAsync(cluster, 1));
    }

    [Fact]
    public async Task A_number_is_raised_only_where_the_owner_still_has_the_key_and_no_counter_is_lowered()
    {
        await using var cluster = await RedlockCluster.StartAsync(3);
        var client = await cluster.ConnectAsync();
        var grant = await client.AcquireAsync();
        await Eventually.Holds(async () => await cluster.HoldersAsync("job:a") == 3);
        var server = cluster.Servers[0];
        var counter = await CounterAsync(cluster, 0);

        Task<string> RaiseAsync(string owner, string number) =>
            server.CommandAsync("EVAL", RedlockScripts.Raise.Text, "2", "test:lock:job:a", counter, owner, number);
        Assert.Equal("0", await RaiseAsync("somebody/1", "9000000000000000"));
        Assert.Equal("1", await RaiseAsync(grant.Owner.ToString(), "7"));

        Assert.Equal(7, (await NumbersAsync(cluster))[0]);
        Assert.Equal(grant.Number.ToString(CultureInfo.InvariantCulture), await CounterValueAsync(cluster, 0));
        Assert.InRange(long.Parse(await server.CommandAsync("PTTL", "test:lock:job:a"), CultureInfo.InvariantCulture), 1, 2_000);
        await client.ReleaseAsync(grant);
        // A majority has confirmed it; this node may be the last.
        await Eventually.Holds(async () => await cluster.HoldersAsync("job:a", [0]) == 0);
        Assert.Equal("0", await RaiseAsync(grant.Owner.ToString(), "8"));
        Assert.Equal(0, await cluster.HoldersAsync("job:a", [0]));
    }

    private static async Task<string> CounterValueAsync(RedlockCluster cluster, int node) =>
        await cluster.Servers[node].CommandAsync("GET", await CounterAsync(cluster, node));

    private static async Task<string> CounterAsync(RedlockCluster cluster, int node) =>
        (await cluster.Servers[node].CommandAsync("KEYS", "test:token:*")).Split('\n')[0].Trim();

    private static async Task<long[]> NumbersAsync(RedlockCluster cluster, int nodes = 3)
    {
        var values = await Task.WhenAll(cluster.Servers[..nodes].Select(s => s.CommandAsync("GET", "test:lock:job:a")));
        return [.. values.Select(v => v.Split('\n') is { Length: > 1 } p ? long.Parse(p[1], CultureInfo.InvariantCulture) : 0)];
    }
}
