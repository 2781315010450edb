using System.Diagnostics;
using Scheduler.Leases;
using Scheduler.Locking;
using Scheduler.Testing;
using Scheduler.Testing.Servers;

namespace Scheduler.Tests.Redis;

// A minority that is away costs nothing; with a majority away every call ends, and nothing is granted.
public sealed class RedlockOutageTests
{
    /// <summary>Far below <see cref="RedlockCluster.CallTimeout"/>: nobody waited for a node that says nothing.</summary>
    private static readonly TimeSpan AtOnce = TimeSpan.FromMilliseconds(240);

    private static CancellationToken Stop => TestContext.Current.CancellationToken;

    [Theory]
    [InlineData("kill")]
    [InlineData("freeze")]
    public async Task With_two_of_five_away_all_goes_on_without_waiting(string how)
    {
        await using var cluster = await RedlockCluster.StartAsync(5);
        var (first, second) = (await cluster.ConnectAsync(), await cluster.ConnectAsync());
        var kept = await first.AcquireAsync("job:kept");

        foreach (var server in cluster.Servers[..2])
        {
            await AwayAsync(server, how);
        }

        for (var i = 0; i < 20; i++)
        {
            var grant = await WithoutWaitingAsync(() => first.AcquireAsync());
            Assert.IsType<AcquireResult.Held>(await WithoutWaitingAsync(() => second.TryAsync()));
            Assert.Equal(RenewalOutcome.Renewed, await WithoutWaitingAsync(() => first.RenewAsync(grant)));
            Assert.Equal(grant.Number, (await WithoutWaitingAsync(() => second.Store.ReadAsync(grant.Key, Stop).AsTask()))!.Number);
            Assert.Equal(new ReleaseResult(true, true), await WithoutWaitingAsync(() => first.ReleaseAsync(grant)));
            Assert.Equal(RenewalOutcome.Renewed, await WithoutWaitingAsync(() => first.RenewAsync(kept)));
        }
        await second.CheckAsync();
        Assert.True((await second.Store.RevokeAsync(kept.Key, kept.Number, Stop)).Found);
        Assert.Equal(RenewalOutcome.Revoked, await first.RenewAsync(kept));
        Assert.Single((await second.Store.ListAsync("job:kept", 10, null, Stop)).Items);
    }

    [Fact]
    public async Task A_node_that_speaks_again_counts_again_without_a_check_by_Core()
    {
        await using var cluster = await RedlockCluster.StartAsync(3);
        var client = await cluster.ConnectToAllAsync();
        cluster.Servers[0].Freeze();
        await Eventually.Holds(async () =>
        {
            await client.ReleaseAsync(await client.AcquireAsync());
            return client.Log.Count(2050) > 0;
        });

        cluster.Servers[0].Thaw();
        await Eventually.Holds(async () =>
        {
            await client.ReleaseAsync(await client.AcquireAsync());
            return client.Log.Count(2051) > 3;
        });

        // Now it is the node without which there is no majority.
        await cluster.Servers[1].KillAsync();
        await Eventually.Holds(async () => await client.TryAsync("job:b") is AcquireResult.Granted);
    }

    [Theory]
    [InlineData("kill")]
    [InlineData("freeze")]
    public async Task With_three_of_five_away_calls_end_in_bounded_time_and_leases_are_lost_by_their_deadline(string how)
    {
        await using var cluster = await RedlockCluster.StartAsync(5);
        var client = await cluster.ConnectAsync();
        await using var locks = new LockProvider(
            client.Store,
            new LeaseOptions { LongestLease = RedlockCluster.LongestLease, CallTimeout = RedlockCluster.CallTimeout },
            client.Replica,
            Time.BootTimeProvider.Instance
        );
        var held = Stopwatch.StartNew();
        var lease = Assert
            .IsType<LockAttempt.Granted>(await locks.TryAcquireAsync(LockKey.From("job:held"), "test", TimeSpan.FromSeconds(1), Stop))
            .Lease;
        var lost = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        await using var _ = lease.Lost.Register(() => lost.TrySetResult());

        foreach (var server in cluster.Servers[..3])
        {
            await AwayAsync(server, how);
        }

        var watch = Stopwatch.StartNew();
        var owner = client.NewOwner();
        var answer = Assert.IsType<AcquireResult.Unavailable>(await client.TryAsync(owner: owner));
        Assert.True(watch.Elapsed < RedlockCluster.CallTimeout * 2, $"answered after {watch.Elapsed}");
        Assert.Contains("fewer than 3 of its 5 nodes", answer.Reason, StringComparison.Ordinal);
        await Assert.ThrowsAsync<StoreUnavailableException>(() => client.Store.ReleaseAsync(LockKey.From("job:a"), owner, Stop).AsTask());
        await Assert.ThrowsAsync<StoreUnavailableException>(() => client.Store.ReadAsync(LockKey.From("job:a"), Stop).AsTask());
        await Assert.ThrowsAsync<StoreUnavailableException>(() => client.Store.ListAsync("", 10, null, Stop).AsTask());
        await lost.Task.WaitAsync(TimeSpan.FromSeconds(10), Stop);
        Assert.False(lease.IsHeld);
        Assert.True(held.Elapsed < TimeSpan.FromSeconds(3), $"lost after {held.Elapsed}");
    }

    [Fact]
    public async Task An_attempt_without_a_majority_leaves_nothing_behind()
    {
        await using var cluster = await RedlockCluster.StartAsync(5);
        var client = await cluster.ConnectAsync();
        foreach (var server in cluster.Servers[..3])
        {
            server.Freeze();
        }
        var owner = client.NewOwner();

        var answer = Assert.IsType<AcquireResult.Unavailable>(await client.TryAsync(owner: owner));

        Assert.True(answer.OutcomeUnknown);
        await Eventually.Holds(async () => await cluster.HoldersAsync("job:a", [3, 4]) == 0, RedlockCluster.LongestLease / 4);
        foreach (var server in cluster.Servers[..3])
        {
            server.Thaw();
        }
        // What the frozen nodes had not read yet: the request, and behind it its release.
        await Eventually.Holds(async () => await cluster.HoldersAsync("job:a") == 0, RedlockCluster.LongestLease / 2);
        await Eventually.Holds(async () => !(await client.Store.ReleaseAsync(LockKey.From("job:a"), owner, Stop)).Released);
    }

    private static async Task AwayAsync(RedisServer server, string how)
    {
        if (how == "kill")
        {
            await server.KillAsync();
        }
        else
        {
            server.Freeze();
        }
    }

    private static async Task<T> WithoutWaitingAsync<T>(Func<Task<T>> call)
    {
        var watch = Stopwatch.StartNew();
        var result = await call();
        Assert.True(watch.Elapsed < AtOnce, $"answered after {watch.Elapsed}");
        return result;
    }
}
