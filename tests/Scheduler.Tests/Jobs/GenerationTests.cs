using System.Globalization;
using Scheduler.Jobs;
using Scheduler.Leases;
using Scheduler.Locking;
using Scheduler.Redis;
using Scheduler.Redis.Redlock;
using Scheduler.Testing;
using Scheduler.Testing.Servers;

namespace Scheduler.Tests.Jobs;

/// <summary>
/// A lock store that forgot what it granted, or knows an older past: State raises the generation, so tokens grow although the store's
/// own numbers begin below.
/// </summary>
public sealed class GenerationTests
{
    private static readonly LockKey Key = LockKey.From("job:settle");
    private static readonly TimeSpan LongestLease = TimeSpan.FromSeconds(2);

    [Theory]
    [InlineData("flushed")]
    [InlineData("restarted empty")]
    [InlineData("an old snapshot")]
    public async Task A_Redis_server_that_forgot_goes_on_in_the_next_generation(string how)
    {
        using var group = new Group(withState: true);
        await using var server = await RedisServer.StartAsync(new RedisServerOptions { Persistence = RedisPersistence.Snapshot });
        await using var one = await StartAsync(group, l => l.UseRedis(server.ConnectionString));
        Assert.Equal(0, (await TakenAsync(one)).Generation);
        await server.CommandAsync("SAVE");
        await AheadAsync(server, "test:token");
        var last = await TakenAsync(one);

        await ForgetAsync(server, how);
        var next = await TakenAsync(one);

        Assert.Equal((0, 1), (last.Generation, next.Generation));
        Assert.True(next.Number < last.Number, $"{next.Number} after {last.Number}: the store did not forget");
        Assert.True(next > last, $"{next} after {last}");
        // For whoever comes later it is the same one.
        await using var two = await StartAsync(group, l => l.UseRedis(server.ConnectionString));
        Assert.True(await TakenAsync(two) is { Generation: 1 } later && later > next);
    }

    [Fact]
    public async Task A_Redis_server_that_syncs_every_write_keeps_its_generation_over_a_restart()
    {
        using var group = new Group(withState: true);
        await using var server = await RedisServer.StartAsync(new RedisServerOptions { Persistence = RedisPersistence.AppendAlways });
        await using var one = await StartAsync(group, l => l.UseRedis(server.ConnectionString));
        await TakenAsync(one);
        await AheadAsync(server, "test:token");
        var last = await TakenAsync(one);

        await server.RestartAsync(keepData: true);
        var next = await TakenAsync(one);

        Assert.Equal((0, 0), (last.Generation, next.Generation));
        Assert.True(next.Number > last.Number, $"{next} after {last}");
    }

    [Theory]
    [InlineData("flushed")]
    [InlineData("restarted empty")]
    [InlineData("an old snapshot")]
    public async Task A_Redlock_whose_majority_forgot_goes_on_in_the_next_generation(string how)
    {
        using var group = new Group(withState: true);
        var servers = await Task.WhenAll(
            Enumerable.Range(0, 3).Select(_ => RedisServer.StartAsync(new RedisServerOptions { Persistence = RedisPersistence.Snapshot }))
        );
        try
        {
            string[] endpoints = [.. servers.Select(s => s.ConnectionString)];
            var counter = (string)new RedlockKeys(new RedisNames(group.Name, 0)).CounterFor(Key.Value)!;
            await using var one = await StartAsync(group, l => l.UseRedlock(endpoints));
            Assert.Equal(0, (await TakenAsync(one)).Generation);
            await Eventually.Holds(async () =>
                await EveryAsync(servers, async s => await s.CommandAsync("HEXISTS", "test:redlock", "id") == "1")
            );
            await Task.WhenAll(servers.Select(s => s.CommandAsync("SAVE")));
            await Task.WhenAll(servers[..2].Select(s => AheadAsync(s, counter)));
            var last = await TakenAsync(one);

            await Task.WhenAll(servers[..2].Select(s => ForgetAsync(s, how)));
            // The one that did not forget has the newest number; it comes back later.
            await servers[2].KillAsync();
            var next = await TakenAsync(one);

            Assert.Equal((0, 1), (last.Generation, next.Generation));
            Assert.True(next > last, $"{next} after {last}");
            await servers[2].RestartAsync(keepData: true);
            Assert.Equal(1, (await TakenAsync(one)).Generation);
        }
        finally
        {
            await Task.WhenAll(servers.Select(s => s.DisposeAsync().AsTask()));
        }
    }

    private static Task<Replica> StartAsync(Group group, Action<SingleInstanceBuilder> store) =>
        Replica.StartAsync(
            group,
            configure: l =>
            {
                l.Options.Leases.LeaseDuration = LongestLease;
                l.Options.Leases.LongestLease = LongestLease;
                l.Options.Leases.CallTimeout = TimeSpan.FromMilliseconds(500);
                l.Options.Leases.ProbeInterval = TimeSpan.FromMilliseconds(100);
                store(l);
            }
        );

    // The next grant, as soon as there is one.
    private static async Task<FencingToken> TakenAsync(Replica replica)
    {
        FencingToken? token = null;
        await Eventually.Holds(
            async () =>
            {
                if (await replica.Locks.TryAcquireAsync(Key, "test") is LockAttempt.Granted { Lease: var lease })
                {
                    token = lease.Token;
                    await lease.ReleaseAsync(CancellationToken.None);
                }
                return token is not null;
            },
            TimeSpan.FromSeconds(30)
        );
        return token!.Value;
    }

    // A counter that is a day ahead of the server's clock, so that the time alone does not keep the numbers growing.
    private static Task<string> AheadAsync(RedisServer server, string counter) =>
        server.CommandAsync(
            "SET",
            counter,
            (TimeProvider.System.GetUtcNow().AddDays(1) - DateTimeOffset.UnixEpoch).TotalMicroseconds.ToString(
                "0",
                CultureInfo.InvariantCulture
            )
        );

    private static async Task ForgetAsync(RedisServer server, string how)
    {
        if (how == "flushed")
        {
            await server.CommandAsync("FLUSHALL");
            return;
        }
        // Killed, so that the snapshot is the one of before.
        await server.KillAsync();
        await server.RestartAsync(keepData: how == "an old snapshot");
    }

    private static async Task<bool> EveryAsync(RedisServer[] servers, Func<RedisServer, Task<bool>> holds) =>
        (await Task.WhenAll(servers.Select(holds))).All(h => h);
}
