using System.Collections.Concurrent;
using System.Globalization;
using Scheduler.Locking;
using Scheduler.Redis.Batching;
using Scheduler.Testing;
using Scheduler.Testing.Servers;

namespace Scheduler.Tests.Redis;

/// <summary>Operations that meet share calls, and each has its own answer all the same.</summary>
public sealed class RedisBatchTests
{
    private static CancellationToken Stop => TestContext.Current.CancellationToken;

    [Fact]
    public async Task Operations_that_meet_share_calls_of_bounded_size()
    {
        await using var server = await RedisServer.StartAsync();
        await using var client = await ReadyAsync(server);
        await server.CommandAsync("CONFIG", "RESETSTAT");

        var answers = await TogetherAsync(server, client, () => [.. Enumerable.Range(0, 500).Select(i => client.TryAsync($"job:{i}"))]);

        Assert.All(answers, answer => Assert.IsType<AcquireResult.Granted>(answer));
        var calls = await CallsAsync(server);
        Assert.InRange(calls, 500 / Batcher.LargestBatch, Batcher.CallsAtOnce + (500 / Batcher.LargestBatch) + 1);
    }

    [Fact]
    public async Task A_lone_operation_is_sent_at_once_and_alone()
    {
        await using var server = await RedisServer.StartAsync();
        await using var client = await ReadyAsync(server);
        await server.CommandAsync("CONFIG", "RESETSTAT");
        for (var i = 0; i < 5; i++)
        {
            var owner = client.NewOwner();
            await client.ExpectGrantedAsync(owner: owner);
            Assert.True((await client.Store.ReleaseAsync(LockKey.From("job:a"), owner, Stop)).Released);
        }
        Assert.Equal(10, await CallsAsync(server));
    }

    [Fact]
    public async Task A_key_that_is_asked_for_twice_in_a_call_is_granted_once()
    {
        await using var server = await RedisServer.StartAsync();
        await using var client = await ReadyAsync(server);

        var answers = await TogetherAsync(server, client, () => [.. Enumerable.Range(0, 60).Select(i => client.TryAsync($"job:{i % 3}"))]);

        Assert.Equal(3, answers.OfType<AcquireResult.Granted>().Count());
        Assert.Equal(57, answers.OfType<AcquireResult.Held>().Count());
    }

    [Fact]
    public async Task What_ends_in_a_call_is_free_for_what_is_taken_in_it_under_a_larger_number()
    {
        await using var server = await RedisServer.StartAsync();
        await using var client = await ReadyAsync(server);
        var owner = client.NewOwner();
        var before = await client.ExpectGrantedAsync("job:passed", owner);
        var heard = new ConcurrentQueue<LockKey>();
        await using var subscription = await client.Store.SubscribeAsync(heard.Enqueue, Stop);
        Task<ReleaseResult>[] releases = [];

        var answers = await TogetherAsync(
            server,
            client,
            () =>
            {
                var taken = client.TryAsync("job:passed");
                // The same end twice: only one of them ended it.
                releases = [.. Enumerable.Range(0, 2).Select(_ => ReleaseAsync(client, "job:passed", owner))];
                return [taken];
            }
        );

        Assert.True(Assert.IsType<AcquireResult.Granted>(Assert.Single(answers)).Number > before.Number);
        Assert.Equal([false, true], (await Task.WhenAll(releases)).Select(r => r.Released).Order());
        await Eventually.Holds(() => heard.Contains(LockKey.From("job:passed")));
    }

    [Fact]
    public async Task Every_key_that_a_call_frees_is_reported()
    {
        await using var server = await RedisServer.StartAsync();
        await using var client = await ReadyAsync(server);
        await using var other = await ReadyAsync(server);
        var heard = new ConcurrentQueue<string>();
        await using var subscription = await other.Store.SubscribeAsync(key => heard.Enqueue(key.Value), Stop);
        var owners = new List<(string Key, LeaseOwner Owner)>();
        for (var i = 0; i < 20; i++)
        {
            owners.Add(($"job:{i}", client.NewOwner()));
            await client.ExpectGrantedAsync(owners[i].Key, owners[i].Owner);
        }
        Task<ReleaseResult>[] releases = [];
        await TogetherAsync(
            server,
            client,
            () =>
            {
                releases = [.. owners.Select(o => ReleaseAsync(client, o.Key, o.Owner))];
                return [];
            }
        );
        Assert.All(await Task.WhenAll(releases), r => Assert.True(r.Released));
        await Eventually.Holds(() => owners.TrueForAll(o => heard.Contains(o.Key)));
    }

    [Fact]
    public async Task A_foreign_value_fails_its_own_attempt_and_no_other()
    {
        await using var server = await RedisServer.StartAsync();
        await using var client = await ReadyAsync(server);
        await server.CommandAsync("LPUSH", "test:lock:job:list", "1");
        await server.CommandAsync("SET", "test:lock:job:text", "foreign");

        var answers = await TogetherAsync(
            server,
            client,
            () =>
                [
                    client.TryAsync("job:list"),
                    client.TryAsync("job:text"),
                    .. Enumerable.Range(0, 5).Select(i => client.TryAsync($"job:{i}")),
                ]
        );

        Assert.Contains("no scheduler wrote", Assert.IsType<AcquireResult.Unavailable>(answers[0]).Reason, StringComparison.Ordinal);
        Assert.Contains("no scheduler wrote", Assert.IsType<AcquireResult.Unavailable>(answers[1]).Reason, StringComparison.Ordinal);
        Assert.All(answers[2..], answer => Assert.IsType<AcquireResult.Granted>(answer));
    }

    [Fact]
    public async Task Grants_end_also_where_the_node_may_not_grant()
    {
        await using var server = await RedisServer.StartAsync();
        await using var client = await ReadyAsync(server);
        var owner = client.NewOwner();
        await client.ExpectGrantedAsync("job:held", owner);
        // As after a restart: the script that grants is unknown.
        await server.CommandAsync("SCRIPT", "FLUSH");
        Task<ReleaseResult>[] releases = [];

        var answers = await TogetherAsync(
            server,
            client,
            () =>
            {
                releases = [ReleaseAsync(client, "job:held", owner)];
                return [client.TryAsync("job:other")];
            }
        );

        Assert.False(Assert.IsType<AcquireResult.Unavailable>(answers[0]).OutcomeUnknown);
        Assert.True((await releases[0]).Released);
    }

    [Fact]
    public async Task A_full_server_refuses_what_it_has_no_memory_for_and_ends_what_ends()
    {
        await using var server = await RedisServer.StartAsync();
        await using var client = await ReadyAsync(server);
        var owner = client.NewOwner();
        await client.ExpectGrantedAsync("job:held", owner);
        await server.CommandAsync("CONFIG", "SET", "maxmemory", "1");

        var refused = await client.ExpectUnavailableAsync("job:other");

        Assert.Contains("OOM", refused.Reason, StringComparison.Ordinal);
        Assert.False(refused.OutcomeUnknown);
        Assert.True((await ReleaseAsync(client, "job:held", owner)).Released);
    }

    [Fact]
    public async Task A_caller_that_blocks_its_thread_holds_up_no_other_answer()
    {
        await using var server = await RedisServer.StartAsync();
        await using var client = await ReadyAsync(server);
        using var unblock = new ManualResetEventSlim();
        var others = new List<Task>();
        var blocking = Task.CompletedTask;
        await TogetherAsync(
            server,
            client,
            () =>
            {
                blocking = BlockAsync();
                others.AddRange(Enumerable.Range(0, 90).Select(i => client.TryAsync($"job:{i}")));
                return [];
            }
        );

        await Task.WhenAll(others).WaitAsync(Eventually.DefaultBound, Stop);
        Assert.False(blocking.IsCompleted);
        unblock.Set();
        await blocking.WaitAsync(Eventually.DefaultBound, Stop);

        async Task BlockAsync()
        {
            await client.TryAsync("job:blocking");
            unblock.Wait(CancellationToken.None);
        }
    }

    private static async Task<RedisTestClient> ReadyAsync(RedisServer server)
    {
        var client = new RedisTestClient(server, callTimeout: TimeSpan.FromSeconds(10));
        await client.CheckUntilUsableAsync(LockStoreUse.Unused);
        return client;
    }

    /// <summary>Stops the server while all calls that may be under way are, so that what is asked for then goes together.</summary>
    private static async Task<AcquireResult[]> TogetherAsync(RedisServer server, RedisTestClient client, Func<Task<AcquireResult>[]> ask)
    {
        Task<AcquireResult>[] asked;
        server.Freeze();
        try
        {
            for (var i = 0; i < Batcher.CallsAtOnce; i++)
            {
                _ = client.TryAsync($"filler:{i}");
            }
            asked = ask();
        }
        finally
        {
            server.Thaw();
        }
        return await Task.WhenAll(asked).WaitAsync(Eventually.DefaultBound, Stop);
    }

    private static Task<ReleaseResult> ReleaseAsync(RedisTestClient client, string key, LeaseOwner owner) =>
        client.Store.ReleaseAsync(LockKey.From(key), owner, Stop).AsTask();

    private static async Task<int> CallsAsync(RedisServer server)
    {
        const string Name = "cmdstat_evalsha:calls=";
        var stats = await server.CommandAsync("INFO", "commandstats");
        var start = stats.IndexOf(Name, StringComparison.Ordinal) + Name.Length;
        return int.Parse(stats.AsSpan(start, stats.IndexOf(',', start) - start), CultureInfo.InvariantCulture);
    }
}
