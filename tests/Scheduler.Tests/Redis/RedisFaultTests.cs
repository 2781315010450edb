using System.Collections.Concurrent;
using System.Diagnostics;
using Microsoft.Extensions.Logging.Abstractions;
using Scheduler.Hosting;
using Scheduler.Leases;
using Scheduler.Locking;
using Scheduler.Redis;
using Scheduler.Testing;
using Scheduler.Testing.Servers;
using Scheduler.Time;

namespace Scheduler.Tests.Redis;

// Rule 7 and the errors that an operator sees.
public sealed class RedisFaultTests
{
    private const string Canary = "canary-7c1f-secret";
    private static readonly LockKey Key = LockKey.From("job:a");

    private static CancellationToken Stop => TestContext.Current.CancellationToken;

    [Fact]
    public async Task Each_call_to_a_silent_server_ends_within_its_limit_and_works_again_when_it_speaks()
    {
        await using var server = await RedisServer.StartAsync();
        await using var client = new RedisTestClient(server);
        await client.CheckUntilUsableAsync(LockStoreUse.Unused);
        var owner = client.NewOwner();
        var granted = await client.ExpectGrantedAsync(owner: owner);

        server.Freeze();
        var answer = await EndsAsync(() => client.TryAsync("job:b"));
        Assert.True(Assert.IsType<AcquireResult.Unavailable>(answer).OutcomeUnknown);
        await FailsAsync(() =>
            client.Store.RenewAsync([new RenewalItem(Key, owner, granted.Number, RedisTestClient.LongestLease)], Stop).AsTask()
        );
        await FailsAsync(() => client.Store.ReleaseAsync(Key, owner, Stop).AsTask());
        await FailsAsync(() => client.Store.RevokeAsync(Key, granted.Number, Stop).AsTask());
        await FailsAsync(() => client.Store.ReadAsync(Key, Stop).AsTask());
        await FailsAsync(() => client.Store.ListAsync("", 10, null, Stop).AsTask());
        await FailsAsync(() => client.Store.SubscribeAsync(_ => { }, Stop).AsTask());
        await FailsAsync(() => client.CheckAsync());
        server.Thaw();

        await client.CheckUntilUsableAsync();
        await client.ExpectGrantedAsync("job:c");
    }

    [Fact]
    public async Task A_path_that_stays_silent_is_given_up_for_a_new_connection()
    {
        await using var server = await RedisServer.StartAsync();
        await using var client = new RedisTestClient(server);
        await client.CheckUntilUsableAsync(LockStoreUse.Unused);

        server.Freeze();
        for (var i = 0; i < 3; i++)
        {
            await client.ExpectRefusedAsync();
        }
        server.Thaw();

        Assert.Contains(client.Logged, line => line.StartsWith("2006 ", StringComparison.Ordinal));
        await client.CheckUntilUsableAsync();
        await client.ExpectGrantedAsync();
    }

    [Fact]
    public async Task A_killed_server_is_found_again_and_reports_flow_again()
    {
        await using var server = await RedisServer.StartAsync(new RedisServerOptions { Persistence = RedisPersistence.AppendAlways });
        await using var client = new RedisTestClient(server);
        await using var other = new RedisTestClient(server);
        await client.CheckUntilUsableAsync(LockStoreUse.Unused);
        await other.CheckAsync();
        var heard = new ConcurrentQueue<LockKey>();
        await using var subscription = await client.Store.SubscribeAsync(heard.Enqueue, Stop);

        await server.KillAsync();
        await client.ExpectUnavailableAsync();
        await client.ExpectRefusedAsync();
        await server.RestartAsync(keepData: true);

        await client.CheckUntilUsableAsync();
        await other.CheckUntilUsableAsync();
        var owner = other.NewOwner();
        await other.ExpectGrantedAsync(owner: owner);
        await other.Store.ReleaseAsync(Key, owner, Stop);
        await Eventually.Holds(() => heard.Contains(Key));
    }

    [Fact]
    public async Task A_subscription_asked_for_while_the_server_is_away_is_refused_rather_than_deaf()
    {
        await using var server = await RedisServer.StartAsync();
        await server.KillAsync();
        await using var client = new RedisTestClient(server);

        await Assert.ThrowsAsync<StoreUnavailableException>(async () => await client.Store.SubscribeAsync(_ => { }, Stop));

        await server.RestartAsync(keepData: false);
        await client.CheckUntilUsableAsync(LockStoreUse.Unused);
        var heard = new ConcurrentQueue<LockKey>();
        await using var subscription = await client.Store.SubscribeAsync(heard.Enqueue, Stop);
        await client.ExpectGrantedAsync(owner: new LeaseOwner("somebody", 1));
        await client.Store.ReleaseAsync(Key, new LeaseOwner("somebody", 1), Stop);
        await Eventually.Holds(() => heard.Contains(Key));
    }

    [Fact]
    public async Task A_server_that_pushes_nothing_any_more_still_grants_and_releases()
    {
        await using var server = await RedisServer.StartAsync();
        await using var client = new RedisTestClient(server);
        await client.CheckUntilUsableAsync(LockStoreUse.Unused);
        await using var subscription = await client.Store.SubscribeAsync(_ => { }, Stop);

        await server.CommandAsync("ACL", "SETUSER", "default", "resetchannels");

        await client.CheckUntilUsableAsync();
        var owner = client.NewOwner();
        await client.ExpectGrantedAsync(owner: owner);
        Assert.True((await client.Store.ReleaseAsync(Key, owner, Stop)).Released);
        await client.CheckAsync();
    }

    [Fact]
    public async Task A_jump_of_the_servers_clock_ends_the_leases()
    {
        using var clock = new SteppedClock();
        await using var server = await RedisServer.StartAsync(new RedisServerOptions { Environment = clock.Environment });
        var time = BootTimeProvider.Instance;
        var replica = ReplicaIdentity.Create("a");
        var options = new LeaseOptions();
        var store = new RedisLeaseStore(
            server.ConnectionString,
            new BackendContext("test", replica, options, time, NullLoggerFactory.Instance)
        );
        await using var locks = new LockProvider(store, options, replica, time, pairing: new NewStore());
        await locks.StartAsync(Stop);
        var lease = Assert.IsType<LockAttempt.Granted>(await locks.TryAcquireAsync(Key, "test", options.LongestLease, Stop)).Lease;

        clock.Set(TimeSpan.FromSeconds(1));
        Assert.True(lease.IsHeld);
        await locks.TryAcquireAsync(LockKey.From("job:b"), "test", cancellationToken: Stop);

        Assert.False(lease.IsHeld);
        Assert.Equal(LossReason.ServerClockJumped, lease.LossReason);
    }

    [Fact]
    public async Task A_subscriber_that_throws_silences_nobody()
    {
        await using var server = await RedisServer.StartAsync();
        await using var client = new RedisTestClient(server);
        await client.CheckUntilUsableAsync(LockStoreUse.Unused);
        var heard = new ConcurrentQueue<LockKey>();
        await using var bad = await client.Store.SubscribeAsync(_ => throw new InvalidOperationException("a defect"), Stop);
        await using var good = await client.Store.SubscribeAsync(heard.Enqueue, Stop);

        var owner = client.NewOwner();
        await client.ExpectGrantedAsync(owner: owner);
        await client.Store.ReleaseAsync(Key, owner, Stop);

        await Eventually.Holds(() => heard.Contains(Key));
        Assert.Contains(client.Logged, line => line.StartsWith("2005 ", StringComparison.Ordinal));
    }

    [Theory]
    [InlineData($"password={Canary}")]
    [InlineData("")]
    public async Task A_refused_login_is_named_without_the_secret(string login)
    {
        await using var server = await RedisServer.StartAsync(new RedisServerOptions { Password = "right" });
        await using var client = new RedisTestClient($"{server.Endpoint},{login}");

        StoreUnavailableException? refusal = null;
        await Eventually.Holds(async () => (refusal = await client.ExpectRefusedAsync()).IsPermanent);

        Assert.Contains("password", refusal!.Message, StringComparison.Ordinal);
        Assert.Contains(server.Endpoint, refusal.Message, StringComparison.Ordinal);
        Assert.DoesNotContain(Canary, refusal.ToString(), StringComparison.Ordinal);
        Assert.DoesNotContain(client.Logged, line => line.Contains(Canary, StringComparison.Ordinal));
    }

    [Theory]
    [InlineData("redis:6379,passwrod=canary-7c1f-secret")]
    [InlineData("redis:6379,password=begin,canary-7c1f-secret")]
    [InlineData("redis:6379,password=begin,canary-7c1f-secret=x")]
    [InlineData("redis:6379,connectTimeout=canary-7c1f-secret")]
    [InlineData("password=canary-7c1f-secret")]
    public void A_connection_string_that_cannot_be_used_is_not_shown(string connectionString)
    {
        var problem = Assert.Throws<ArgumentException>(() => new RedisTestClient(connectionString));

        Assert.DoesNotContain("canary", problem.ToString(), StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_user_without_the_rights_is_told_which_command_is_refused()
    {
        await using var server = await RedisServer.StartAsync();
        await server.CommandAsync("ACL", "SETUSER", "default", "-evalsha");
        await using var client = new RedisTestClient(server);

        var refusal = await client.ExpectRefusedAsync();

        Assert.True(refusal.IsPermanent);
        Assert.Contains("evalsha", refusal.Message, StringComparison.OrdinalIgnoreCase);
    }

    [Fact]
    public async Task A_server_whose_settings_may_not_be_read_is_used_with_a_warning()
    {
        await using var server = await RedisServer.StartAsync(new RedisServerOptions { Persistence = RedisPersistence.AppendAlways });
        await server.CommandAsync("ACL", "SETUSER", "default", "-config");
        await using var client = new RedisTestClient(server);

        var info = await client.CheckAsync(LockStoreUse.Unused);

        Assert.Contains(info.Warnings, w => w.Contains("CONFIG GET is refused", StringComparison.Ordinal));
    }

    [Fact]
    public async Task A_server_that_may_evict_locks_is_refused_until_that_is_changed()
    {
        await using var server = await RedisServer.StartAsync(new RedisServerOptions { Arguments = ["--maxmemory-policy", "allkeys-lru"] });
        await using var client = new RedisTestClient(server);

        var refusal = await client.ExpectRefusedAsync(LockStoreUse.Unused);

        Assert.True(refusal.IsPermanent);
        Assert.Contains("allkeys-lru", refusal.Message, StringComparison.Ordinal);
        Assert.Contains("CONFIG SET maxmemory-policy noeviction", refusal.Message, StringComparison.Ordinal);
        await client.ExpectUnavailableAsync();
        await server.CommandAsync("CONFIG", "SET", "maxmemory-policy", "noeviction");
        await client.CheckUntilUsableAsync(LockStoreUse.Unused);
    }

    [Fact]
    public async Task A_replica_is_refused()
    {
        await using var server = await RedisServer.StartAsync(new RedisServerOptions { Arguments = ["--replicaof", "127.0.0.1 1"] });
        await using var client = new RedisTestClient(server);

        var refusal = await client.ExpectRefusedAsync(LockStoreUse.Unused);

        Assert.True(refusal.IsPermanent);
        Assert.Contains("so name the master", refusal.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_cluster_node_is_refused()
    {
        await using var server = await RedisServer.StartAsync(new RedisServerOptions { Arguments = ["--cluster-enabled", "yes"] });
        await using var client = new RedisTestClient(server);

        var refusal = await client.ExpectRefusedAsync(LockStoreUse.Unused);

        Assert.True(refusal.IsPermanent);
        Assert.Contains("Redis Cluster", refusal.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("6.2.14", true)]
    [InlineData("5.0", true)]
    [InlineData("", true)]
    [InlineData("7.0.0", false)]
    [InlineData("8.2.1", false)]
    public void An_old_version_is_named_with_what_is_needed(string version, bool refused)
    {
        var problem = ServerInfo.Parse($"# Server\r\nredis_version:{version}\r\nrun_id:abc\r\nrole:master\r\n").Problem();

        Assert.Equal(refused, problem is not null);
        Assert.True(!refused || problem!.Contains($"'{version}'; 7.0 or later", StringComparison.Ordinal), problem);
    }

    [Fact]
    public async Task A_value_that_no_scheduler_wrote_is_an_error_and_not_a_grant()
    {
        await using var server = await RedisServer.StartAsync();
        await using var client = new RedisTestClient(server);
        await client.CheckUntilUsableAsync(LockStoreUse.Unused);
        await server.CommandAsync("SET", "test:lock:job:a", "foreign");
        await server.CommandAsync("LPUSH", "test:lock:job:b", "foreign");

        await client.ExpectUnavailableAsync("job:a");
        await client.CheckAsync();
        await client.ExpectUnavailableAsync("job:b");
    }

    [Fact]
    public async Task A_lease_longer_than_the_longest_is_refused()
    {
        await using var client = new RedisTestClient("127.0.0.1:1");
        var request = new AcquireRequest(Key, client.NewOwner(), "", RedisTestClient.LongestLease + TimeSpan.FromMilliseconds(1));

        await Assert.ThrowsAsync<ArgumentOutOfRangeException>(async () => await client.Store.AcquireAsync(request, Stop));
    }

    private static async Task FailsAsync(Func<Task> call) =>
        await EndsAsync(async () =>
        {
            await Assert.ThrowsAsync<StoreUnavailableException>(call);
            return true;
        });

    private static async Task<T> EndsAsync<T>(Func<Task<T>> call)
    {
        var watch = Stopwatch.StartNew();
        var result = await call();
        // A check and a subscription are a few commands; none of them may take its whole limit more than once here.
        Assert.True(watch.Elapsed < RedisTestClient.CallTimeout * 4, $"took {watch.Elapsed}");
        return result;
    }
}
