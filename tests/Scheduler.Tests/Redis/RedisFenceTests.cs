using Scheduler.Locking;
using Scheduler.Redis.Fencing;
using Scheduler.Testing.Servers;
using Scheduler.TestPeer;
using Scheduler.Tests.Conformance;
using StackExchange.Redis;

namespace Scheduler.Tests.Redis;

/// <summary>Fenced scripts on an application's Redis server.</summary>
public sealed class RedisFenceTests : FenceConformance
{
    private RedisServer _server = null!;

    protected override string Kind => "redis";

    private IDatabase Database => ((RedisPayouts)Payouts).Database;

    /// <summary>A script is one round trip, with a fence or without.</summary>
    [Fact]
    public async Task A_fence_adds_no_round_trip() =>
        Assert.Equal(0, await CountRoundTripsOfAFenceAsync(_server.Port, port => $"127.0.0.1:{port}"));

    /// <summary>The counter-example: Redis undoes nothing, so what is written before the fence is raised stays.</summary>
    [Fact]
    public async Task Raised_at_the_end_instead_a_stale_holder_pays_and_is_refused_then()
    {
        Assert.Equal(1, await Payouts.PayAsync(Newer));
        await Assert.ThrowsAsync<RedisServerException>(() => ((RedisPayouts)Payouts).PayWithTheFenceLastAsync(Older));
        Assert.Equal([Newer, Older], await Payouts.PaidAsync());
    }

    [Fact]
    public async Task A_server_that_forgot_its_scripts_is_told_them_again()
    {
        Assert.Equal(1, await Payouts.PayAsync(Older));
        await Database.ExecuteAsync("SCRIPT", "FLUSH");
        Assert.Equal(0, await Payouts.PayAsync(Older));
        await Database.ExecuteAsync("SCRIPT", "FLUSH");
        await Assert.ThrowsAsync<StaleLeaseException>(() => Payouts.PayAsync(Older - 1));
    }

    [Fact]
    public async Task A_script_has_its_own_keys_and_values_and_its_failure_is_told()
    {
        var answer = await RunAsync("return {KEYS[1], ARGV[1], ARGV[2], #KEYS, #ARGV}", ["a"], ["x", 7]);
        Assert.Equal(["a", "x", "7", "1", "2"], ((RedisValue[])answer!).Select(v => (string)v!));
        await Assert.ThrowsAsync<RedisServerException>(() => RunAsync("return redis.call('INCR', KEYS[1], 'too many')", ["a"], []));
        await Assert.ThrowsAsync<ArgumentOutOfRangeException>(() =>
            RunAsync("return 1", [.. Enumerable.Repeat((RedisKey)"a", RedisFence.MostArguments + 1)], [])
        );
        Assert.Equal("1", $"{await RunAsync("return 1", [], [.. Enumerable.Repeat((RedisValue)"a", RedisFence.MostArguments)])}");
    }

    [Fact]
    public async Task A_fence_is_kept_for_seven_days_after_it_was_raised_last()
    {
        await Payouts.PayAsync(Older);
        Assert.Equal($"{Older}\n{Payouts.Key}", (string?)await Database.StringGetAsync("fence:payouts"));
        await Database.KeyExpireAsync("fence:payouts", TimeSpan.FromMinutes(1));
        await Payouts.PayAsync(Older);
        Assert.InRange((await Database.KeyTimeToLiveAsync("fence:payouts"))!.Value.TotalDays, 6.9, 7);
    }

    [Fact]
    public async Task A_server_that_answers_nothing_ends_the_call_in_time_by_name()
    {
        await using var server = await RedisServer.StartAsync();
        await using var payouts = new RedisPayouts(server.ConnectionString);
        server.Freeze();
        var late = await Assert.ThrowsAsync<TimeoutException>(() =>
            RedisFence
                .RunAsync(
                    payouts.Database,
                    new RedisFenceOptions { Limit = TimeSpan.FromMilliseconds(300) },
                    "payouts",
                    Payouts.Key,
                    new FencingToken(1),
                    "return 1",
                    [],
                    [],
                    Stop
                )
                .WaitAsync(Bound, Stop)
        );
        Assert.Contains("'payouts'", late.Message, StringComparison.Ordinal);
        Assert.Contains($"{server.Port}", late.Message, StringComparison.Ordinal);
        server.Thaw();
    }

    protected override async ValueTask<string> StartAsync()
    {
        _server = await RedisServer.StartAsync();
        return _server.ConnectionString;
    }

    protected override ValueTask EndAsync() => _server.DisposeAsync();

    private Task<RedisResult> RunAsync(string script, RedisKey[] keys, RedisValue[] values) =>
        RedisFence.RunAsync(Database, "payouts", Payouts.Key, new FencingToken(Older), script, keys, values, Stop);
}
