using System.Collections.Concurrent;
using System.Diagnostics;
using Scheduler.Locking;
using Scheduler.Testing;
using Scheduler.Testing.Servers;

namespace Scheduler.Tests.Redis;

// Who gets the key when votes are split, and what others are told.
public sealed class RedlockVoteTests
{
    private static CancellationToken Stop => TestContext.Current.CancellationToken;

    [Theory]
    [InlineData(3, false)]
    [InlineData(5, false)]
    [InlineData(5, true)]
    public async Task Of_many_that_ask_at_once_exactly_one_is_granted_and_the_others_are_told_of_another(int nodes, bool numbersApart)
    {
        await using var cluster = await RedlockCluster.StartAsync(nodes);
        var clients = new List<RedlockTestClient>();
        for (var i = 0; i < 8; i++)
        {
            // The vote goes on for a part of it, and here all eight have one machine that may be busy with other tests.
            clients.Add(await cluster.ConnectToAllAsync(callTimeout: TimeSpan.FromSeconds(6)));
        }
        for (var round = 0; round < 40; round++)
        {
            if (numbersApart)
            {
                await cluster.SetNumbersApartAsync("job:a");
            }
            var watch = Stopwatch.StartNew();
            var answers = new ConcurrentBag<(RedlockTestClient Client, LeaseOwner Owner, AcquireResult Answer)>();
            await Task.WhenAll(
                clients.Select(asker =>
                    Task.Run(
                        async () =>
                        {
                            var request = asker.NewOwner();
                            answers.Add((asker, request, await asker.TryAsync(owner: request)));
                        },
                        Stop
                    )
                )
            );
            Assert.True(watch.Elapsed < RedlockCluster.LongestLease, $"decided after {watch.Elapsed}");
            Assert.True(answers.Any(a => a.Answer is AcquireResult.Granted), $"nobody has the key after {watch.Elapsed}");
            var (client, owner, _) = Assert.Single(answers, a => a.Answer is AcquireResult.Granted);
            // While the vote goes on, whoever is ahead is named, and that need not be who has the key in the end.
            Assert.All(
                answers.Where(a => a.Answer is not AcquireResult.Granted),
                a =>
                {
                    var holder = Assert.IsType<AcquireResult.Held>(a.Answer).Holder;
                    Assert.NotEqual(a.Client.Replica.Id, holder);
                    Assert.Contains(clients, c => c.Replica.Id == holder);
                }
            );
            Assert.True((await client.Store.ReleaseAsync(LockKey.From("job:a"), owner, Stop)).Released);
            // Nothing of the others is left on any node.
            await Eventually.Holds(async () => await cluster.HoldersAsync("job:a") == 0, RedlockCluster.LongestLease / 4);
        }
    }

    [Fact]
    public async Task Votes_that_a_dead_replica_left_keep_the_key_for_their_own_time_at_most()
    {
        await using var cluster = await RedlockCluster.StartAsync(3);
        var client = await cluster.ConnectAsync();
        await cluster.Servers[2].KillAsync();
        await cluster.Servers[0].CommandAsync("SET", "test:lock:job:a", "00dead/1\n1\ncrashed", "PX", "1000");

        var watch = Stopwatch.StartNew();
        var held = Assert.IsType<AcquireResult.Held>(await client.TryAsync());
        Assert.True(watch.Elapsed < RedlockCluster.CallTimeout, $"answered after {watch.Elapsed}");
        Assert.Equal(("dead", "crashed"), (held.Holder, held.Purpose));
        Assert.InRange(held.Remaining, TimeSpan.FromMilliseconds(1), TimeSpan.FromSeconds(1));
        // Its own vote is given back, and nobody waits for that.
        await Eventually.Holds(async () => await cluster.HoldersAsync("job:a", [1]) == 0);

        await Eventually.Holds(async () => await client.TryAsync() is AcquireResult.Granted, TimeSpan.FromSeconds(5));
    }

    [Fact]
    public async Task Votes_of_a_minority_do_not_keep_others_out()
    {
        await using var cluster = await RedlockCluster.StartAsync(5);
        var client = await cluster.ConnectAsync(callTimeout: TimeSpan.FromSeconds(5));
        foreach (var server in cluster.Servers[..2])
        {
            await server.CommandAsync("SET", "test:lock:job:a", "00dead/1\n1\ncrashed", "PX", "60000");
        }

        for (var i = 0; i < 10; i++)
        {
            Assert.True((await client.ReleaseAsync(await client.AcquireAsync())).Released);
        }
    }

    [Fact]
    public async Task A_renewal_without_a_majority_is_never_renewed()
    {
        await using var cluster = await RedlockCluster.StartAsync(5);
        var client = await cluster.ConnectAsync();
        var grant = await client.AcquireAsync();
        await Eventually.Holds(async () => await cluster.HoldersAsync("job:a") == 5);

        await cluster.Servers[0].CommandAsync("DEL", "test:lock:job:a");
        await cluster.Servers[1].CommandAsync("DEL", "test:lock:job:a");
        Assert.Equal(RenewalOutcome.Renewed, await client.RenewAsync(grant));
        Assert.Equal(3, await cluster.HoldersAsync("job:a"));
        await cluster.Servers[2].KillAsync();
        // Two say yes, two say no, and the fifth may have said yes.
        await Eventually.Holds(async () => await client.RenewAsync(grant) == RenewalOutcome.Unknown);
        await cluster.Servers[3].CommandAsync("DEL", "test:lock:job:a");
        Assert.Equal(RenewalOutcome.Lost, await client.RenewAsync(grant));
    }

    [Fact]
    public async Task A_release_is_confirmed_by_a_majority_and_reaches_a_silent_node_when_it_goes_on()
    {
        await using var cluster = await RedlockCluster.StartAsync(3);
        var (client, other) = (await cluster.ConnectAsync(), await cluster.ConnectAsync());
        var grant = await client.AcquireAsync(duration: RedlockCluster.LongestLease);
        await Eventually.Holds(async () => await cluster.HoldersAsync("job:a") == 3);
        cluster.Servers[1].Freeze();

        var watch = Stopwatch.StartNew();
        Assert.True((await client.ReleaseAsync(grant)).Released);
        Assert.True(watch.Elapsed < RedlockCluster.CallTimeout / 2, $"released after {watch.Elapsed}");
        var next = await other.AcquireAsync();

        cluster.Servers[1].Thaw();
        await Eventually.Holds(
            async () =>
                !(await cluster.Servers[1].CommandAsync("GET", "test:lock:job:a")).Contains(
                    grant.Owner.ToString(),
                    StringComparison.Ordinal
                ),
            RedlockCluster.LongestLease / 2
        );
        Assert.Equal(RenewalOutcome.Renewed, await other.RenewAsync(next));
    }

    [Theory]
    [InlineData(5)]
    [InlineData(3)]
    public async Task A_release_is_reported_once_by_however_many_nodes(int running)
    {
        await using var cluster = await RedlockCluster.StartAsync(5);
        var (client, other) = (await cluster.ConnectAsync(), await cluster.ConnectAsync());
        foreach (var server in cluster.Servers[running..])
        {
            await server.KillAsync();
        }
        var heard = new ConcurrentQueue<LockKey>();
        await using var subscription = await other.Store.SubscribeAsync(heard.Enqueue, Stop);

        for (var i = 0; i < 50; i++)
        {
            Assert.True((await client.ReleaseAsync(await client.AcquireAsync())).Released);
        }
        await client.ReleaseAsync(await client.AcquireAsync("job:last"));

        await Eventually.Holds(() => heard.Contains(LockKey.From("job:last")));
        Assert.Equal(50, heard.Count(k => k.Value == "job:a"));
    }

    [Fact]
    public async Task A_report_by_one_node_is_enough_where_only_one_is_heard_and_reports_flow_again()
    {
        await using var cluster = await RedlockCluster.StartAsync(3);
        var (client, other) = (await cluster.ConnectAsync(), await cluster.ConnectAsync());
        var heard = new ConcurrentQueue<LockKey>();
        await using var subscription = await other.Store.SubscribeAsync(heard.Enqueue, Stop);
        RedisServer[] stopped = [cluster.Servers[0], cluster.Servers[1]];
        await Task.WhenAll(stopped.Select(s => s.KillAsync()));

        await Eventually.Holds(async () =>
        {
            await cluster.Servers[2].CommandAsync("PUBLISH", "test:released:0", $"x/{Stopwatch.GetTimestamp()}\njob:one");
            return heard.Contains(LockKey.From("job:one"));
        });
        await Task.WhenAll(stopped.Select(s => s.RestartAsync(keepData: false)));
        await client.CheckUntilUsableAsync();
        await other.CheckUntilUsableAsync();

        await Eventually.Holds(async () =>
        {
            await client.ReleaseAsync(await client.AcquireAsync("job:again"));
            return heard.Contains(LockKey.From("job:again"));
        });
    }
}
