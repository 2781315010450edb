using System.Diagnostics;
using System.Globalization;
using Scheduler.Locking;
using Scheduler.Redis;
using Scheduler.Testing.Servers;

namespace Scheduler.Tests.Redis;

// DESIGN section 4, rule 1: a node that may have forgotten grants grants nothing until every lease of before is over.
public sealed class ForgottenGrantsTests
{
    private static CancellationToken Stop => TestContext.Current.CancellationToken;

    [Fact]
    public async Task Nothing_is_granted_before_the_first_check()
    {
        await using var server = await RedisServer.StartAsync();
        await using var client = new RedisTestClient(server);

        await client.ExpectUnavailableAsync();

        Assert.Equal("0", await server.CommandAsync("DBSIZE"));
    }

    [Fact]
    public async Task A_store_declared_new_waits_for_nothing()
    {
        await using var server = await RedisServer.StartAsync();
        await using var client = new RedisTestClient(server);

        await client.CheckUntilUsableAsync(LockStoreUse.Unused);

        await client.ExpectGrantedAsync();
        Assert.True(await UptimeAsync(server) < RedisTestClient.LongestLease, "the server was up too long to show anything");
    }

    [Theory]
    [InlineData(LockStoreUse.Used)]
    [InlineData(LockStoreUse.Unknown)]
    public async Task A_server_restarted_empty_grants_nothing_until_the_longest_lease_is_over(LockStoreUse use)
    {
        await using var server = await RedisServer.StartAsync();
        await using var client = new RedisTestClient(server);
        await client.CheckUntilUsableAsync(LockStoreUse.Unused);
        await client.ExpectGrantedAsync();

        await server.KillAsync();
        var killed = Stopwatch.StartNew();
        await server.RestartAsync(keepData: false);

        await using var fresh = new RedisTestClient(server);
        await client.ExpectUnavailableAsync();
        var refusal = await fresh.ExpectRefusedAsync(use);
        Assert.InRange(refusal.RetryAfter!.Value, TimeSpan.FromMilliseconds(1), RedisTestClient.LongestLease + TimeSpan.FromSeconds(1));
        Assert.False(refusal.IsPermanent);
        await client.ExpectUnavailableAsync();
        await fresh.ExpectUnavailableAsync();
        await fresh.CheckUntilUsableAsync(use);
        Assert.True(killed.Elapsed >= RedisTestClient.LongestLease, $"usable {killed.Elapsed} after the crash");
        await fresh.ExpectGrantedAsync();
        Assert.Contains(fresh.Logged, line => line.StartsWith("2003 ", StringComparison.Ordinal));
    }

    [Theory]
    [InlineData(RedisPersistence.Snapshot)]
    [InlineData(RedisPersistence.AppendEverySecond)]
    public async Task A_server_restarted_with_data_that_may_lack_grants_waits_too(RedisPersistence persistence)
    {
        await using var server = await RedisServer.StartAsync(new RedisServerOptions { Persistence = persistence });
        await using var client = new RedisTestClient(server);
        var info = await client.CheckAsync(LockStoreUse.Unused);
        await client.ExpectGrantedAsync();
        await server.StopAsync();
        var stopped = Stopwatch.StartNew();
        await server.RestartAsync(keepData: true);

        await using var fresh = new RedisTestClient(server);
        await fresh.ExpectRefusedAsync();
        await fresh.CheckUntilUsableAsync();

        Assert.True(stopped.Elapsed >= RedisTestClient.LongestLease, $"usable {stopped.Elapsed} after the stop");
        // What it knows may be older than what it granted.
        Assert.NotEqual(info.Id, (await fresh.CheckAsync()).Id);
    }

    [Fact]
    public async Task A_server_that_syncs_every_write_goes_on_at_once_with_its_grants()
    {
        await using var server = await RedisServer.StartAsync(new RedisServerOptions { Persistence = RedisPersistence.AppendAlways });
        await using var client = new RedisTestClient(server);
        await client.CheckUntilUsableAsync(LockStoreUse.Unused);
        var owner = client.NewOwner();
        var granted = await client.ExpectGrantedAsync(owner: owner);
        await client.Store.RenewAsync([new RenewalItem(LockKey.From("job:a"), owner, granted.Number, RedisTestClient.LongestLease)], Stop);

        await server.RestartAsync(keepData: true);
        await using var fresh = new RedisTestClient(server);
        await fresh.CheckAsync();

        Assert.True(await UptimeAsync(server) < RedisTestClient.LongestLease, "the server was up too long to show anything");
        Assert.IsType<AcquireResult.Held>(await fresh.TryAsync());
        Assert.Equal(granted.Number, (await fresh.Store.ReadAsync(LockKey.From("job:a"), Stop))!.Number);
    }

    [Fact]
    public async Task A_flushed_server_grants_nothing_until_the_longest_lease_is_over_and_all_replicas_wait_for_the_same_end()
    {
        await using var server = await RedisServer.StartAsync();
        await using var client = new RedisTestClient(server);
        await client.CheckUntilUsableAsync(LockStoreUse.Unused);
        await client.ExpectGrantedAsync();
        await WaitForUptimeAsync(server);

        await server.CommandAsync("FLUSHALL");
        var flushed = Stopwatch.StartNew();

        await client.ExpectUnavailableAsync("job:other");
        var first = await client.ExpectRefusedAsync();
        await using var restarted = new RedisTestClient(server);
        var second = await restarted.ExpectRefusedAsync();
        Assert.True(second.RetryAfter <= first.RetryAfter, $"{second.RetryAfter} after {first.RetryAfter}: the wait began again");
        await client.ExpectUnavailableAsync();
        await restarted.CheckUntilUsableAsync();
        await client.CheckAsync();
        Assert.True(flushed.Elapsed >= RedisTestClient.LongestLease, $"usable {flushed.Elapsed} after the flush");
        await client.ExpectGrantedAsync();
    }

    [Fact]
    public async Task A_process_that_used_the_store_knows_it_whatever_it_is_told()
    {
        await using var server = await RedisServer.StartAsync();
        await using var client = new RedisTestClient(server);
        await client.CheckUntilUsableAsync(LockStoreUse.Unused);
        await client.ExpectGrantedAsync();

        await server.CommandAsync("FLUSHALL");

        await client.ExpectRefusedAsync(LockStoreUse.Unused);
        await client.ExpectUnavailableAsync();
    }

    [Fact]
    public async Task Without_State_a_store_that_knows_nothing_is_used_with_a_warning()
    {
        await using var server = await RedisServer.StartAsync();
        await WaitForUptimeAsync(server);
        await using var client = new RedisTestClient(server);

        var info = await client.CheckAsync(LockStoreUse.Unknown);

        Assert.Contains(info.Warnings, w => w.Contains("forgot every grant", StringComparison.Ordinal));
        await client.ExpectGrantedAsync();
    }

    [Fact]
    public async Task Flushed_scripts_are_not_sent_again_by_an_acquire()
    {
        await using var server = await RedisServer.StartAsync();
        await using var client = new RedisTestClient(server);
        await client.CheckUntilUsableAsync(LockStoreUse.Unused);
        var owner = client.NewOwner();
        await client.ExpectGrantedAsync("job:held", owner);

        await server.CommandAsync("SCRIPT", "FLUSH");

        var answer = await client.ExpectUnavailableAsync();
        Assert.Contains("must be checked", answer.Reason, StringComparison.Ordinal);
        Assert.False(answer.OutcomeUnknown);
        // What grants nothing goes on: renewals and releases load their script themselves.
        Assert.True((await client.Store.ReleaseAsync(LockKey.From("job:held"), owner, Stop)).Released);
        await client.ExpectUnavailableAsync();
        await client.CheckAsync();
        await client.ExpectGrantedAsync();
    }

    [Fact]
    public async Task A_promoted_replica_grants_nothing_until_the_longest_lease_is_over()
    {
        await using var master = await RedisServer.StartAsync();
        await using var replica = await RedisServer.StartAsync();
        await using var client = new RedisTestClient(master);
        await client.CheckUntilUsableAsync(LockStoreUse.Unused);
        await client.ExpectGrantedAsync("job:first");
        var id = (await client.CheckAsync()).Id;
        await replica.CommandAsync("REPLICAOF", master.Host, master.Port.ToString(CultureInfo.InvariantCulture));
        await Scheduler.Testing.Eventually.Holds(async () =>
            (await replica.CommandAsync("INFO", "replication")).Contains("master_link_status:up", StringComparison.Ordinal)
        );
        await WaitForUptimeAsync(replica);

        await replica.CommandAsync("REPLICAOF", "NO", "ONE");
        await using var moved = new RedisTestClient(replica);
        var promoted = Stopwatch.StartNew();
        await moved.ExpectRefusedAsync();
        await moved.ExpectUnavailableAsync();
        await moved.CheckUntilUsableAsync();

        Assert.True(promoted.Elapsed >= RedisTestClient.LongestLease - TimeSpan.FromMilliseconds(50), $"usable after {promoted.Elapsed}");
        await moved.ExpectGrantedAsync();
        // Replication may have lagged behind the grants.
        Assert.NotEqual(id, (await moved.CheckAsync()).Id);
    }

    [Fact]
    public async Task The_check_of_another_group_makes_no_script_known_by_which_this_one_would_be_granted()
    {
        await using var server = await RedisServer.StartAsync(new RedisServerOptions { Persistence = RedisPersistence.Snapshot });
        await using var client = new RedisTestClient(server);
        await client.CheckUntilUsableAsync(LockStoreUse.Unused);
        await client.ExpectGrantedAsync();
        var run = (await server.CommandAsync("GET", "test:node")).Trim();
        var hash = Convert.ToHexStringLower(RedisScript.Acquire.ForNode(run).Hash);
        var acquire = (string[])["EVALSHA", hash, "3", "test:lock:job:b", "test:token", "test:node", "a/1", "test", "1000", run];
        Assert.DoesNotContain("NOSCRIPT", await AnswerAsync(server, acquire), StringComparison.Ordinal);

        await server.StopAsync();
        await server.RestartAsync(keepData: true);
        await using var other = new RedisTestClient(server, "other");
        await other.CheckUntilUsableAsync(LockStoreUse.Unused);
        await other.ExpectGrantedAsync();

        Assert.Equal(run, (await server.CommandAsync("GET", "test:node")).Trim());
        // As a command of before that the client sent again over its new connection.
        acquire[3] = "test:lock:job:c";
        Assert.Contains("NOSCRIPT", await AnswerAsync(server, acquire), StringComparison.Ordinal);
    }

    private static async Task<string> AnswerAsync(RedisServer server, string[] words)
    {
        try
        {
            return await server.CommandAsync(words);
        }
        catch (InvalidOperationException error)
        {
            return error.Message;
        }
    }

    [Fact]
    public async Task An_acquire_over_a_new_connection_is_refused_until_the_node_is_checked_again()
    {
        await using var server = await RedisServer.StartAsync();
        await using var client = new RedisTestClient(server);
        await client.CheckUntilUsableAsync(LockStoreUse.Unused);

        await server.CommandAsync("CLIENT", "KILL", "TYPE", "normal");
        await Scheduler.Testing.Eventually.Holds(async () => await client.TryAsync() is AcquireResult.Unavailable);

        await client.CheckUntilUsableAsync();
        await client.ExpectGrantedAsync("job:b");
    }

    private static async Task<TimeSpan> UptimeAsync(RedisServer server)
    {
        var line = (await server.CommandAsync("INFO", "server"))
            .Split('\n')
            .Single(l => l.StartsWith("uptime_in_seconds:", StringComparison.Ordinal));
        return TimeSpan.FromSeconds(int.Parse(line.AsSpan(18).Trim(), CultureInfo.InvariantCulture));
    }

    private static Task WaitForUptimeAsync(RedisServer server) =>
        Scheduler.Testing.Eventually.Holds(async () => await UptimeAsync(server) > RedisTestClient.LongestLease + TimeSpan.FromSeconds(1));
}
