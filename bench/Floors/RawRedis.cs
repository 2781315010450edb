using System.Collections.Concurrent;
using StackExchange.Redis;

namespace Scheduler.Bench.Floors;

/// <summary>SET NX PX to take, compare-and-delete by script to free: one call each, on the client library that the product uses.</summary>
internal sealed class RawRedis : IRawLock
{
    private const string Free = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0";
    private const string Renew = """
        for i = 1, #KEYS do
          if redis.call('GET', KEYS[i]) == ARGV[1] then redis.call('PEXPIRE', KEYS[i], ARGV[2]) end
        end
        """;

    private readonly ConnectionMultiplexer _connection;
    private readonly IDatabase _redis;
    private readonly CancellationTokenSource _ended = new();
    private readonly ConcurrentBag<Task> _lives = [];

    /// <param name="address">One or several addresses separated by ';'; the floor is one node.</param>
    public RawRedis(string address)
    {
        _connection = ConnectionMultiplexer.Connect(address.Split(';')[0]);
        _redis = _connection.GetDatabase();
    }

    public async ValueTask<bool> TakeAsync(string key, string owner, TimeSpan duration) =>
        await _redis.StringSetAsync(key, owner, duration, When.NotExists);

    public async ValueTask<bool> FreeAsync(string key, string owner) => (long)await _redis.ScriptEvaluateAsync(Free, [key], [owner]) == 1;

    public async ValueTask RenewAsync(IReadOnlyList<string> keys, string owner, TimeSpan duration) =>
        await _redis.ScriptEvaluateAsync(Renew, [.. keys.Select(k => (RedisKey)k)], [owner, (long)duration.TotalMilliseconds]);

    public async ValueTask<bool> TakeForLifeAsync(string key, TimeSpan duration)
    {
        var owner = Guid.NewGuid().ToString("n");
        if (!await TakeAsync(key, owner, duration))
        {
            return false;
        }
        _lives.Add(RenewForEverAsync());
        return true;

        async Task RenewForEverAsync()
        {
            while (!_ended.IsCancellationRequested)
            {
                await Task.Delay(duration / 3, TimeProvider.System, _ended.Token).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
                await RenewAsync([key], owner, duration);
            }
        }
    }

    public async ValueTask DisposeAsync()
    {
        await _ended.CancelAsync();
        await Task.WhenAll(_lives);
        _ended.Dispose();
        _connection.Dispose();
    }
}
