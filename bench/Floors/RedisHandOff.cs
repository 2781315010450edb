using System.Threading.Channels;
using StackExchange.Redis;

namespace Scheduler.Bench.Floors;

/// <summary>Free and publish in one script; the other process hears it and sends SET NX PX.</summary>
internal sealed class RedisHandOff : IRawHandOff
{
    private const string Key = "raw-hand-off";
    private const string Pass = "redis.call('DEL', KEYS[1]) redis.call('PUBLISH', ARGV[1], '') return 1";
    private static readonly TimeSpan Duration = TimeSpan.FromSeconds(10);

    private readonly ConnectionMultiplexer _connection;
    private readonly IDatabase _redis;
    private readonly Channel<bool> _turns = Channel.CreateUnbounded<bool>();
    private readonly int _other;

    /// <param name="address">Where the server is; of several the first.</param>
    /// <param name="me">0 or 1; 0 begins.</param>
    public RedisHandOff(string address, int me)
    {
        _connection = ConnectionMultiplexer.Connect(address.Split(';')[0]);
        _redis = _connection.GetDatabase();
        _other = 1 - me;
        _connection.GetSubscriber().Subscribe(TurnOf(me), (_, _) => _turns.Writer.TryWrite(true));
        if (me == 0)
        {
            _turns.Writer.TryWrite(true);
        }
    }

    public async Task TakeAsync(CancellationToken cancellationToken)
    {
        await _turns.Reader.ReadAsync(cancellationToken);
        if (!await _redis.StringSetAsync(Key, "owner", Duration, When.NotExists))
        {
            throw new InvalidOperationException("The lock was passed on, but it is not free.");
        }
    }

    public Task PassAsync() => _redis.ScriptEvaluateAsync(Pass, [Key], [$"raw-turn-{_other}"]);

    public ValueTask DisposeAsync()
    {
        _connection.Dispose();
        return ValueTask.CompletedTask;
    }

    private static RedisChannel TurnOf(int player) => new($"raw-turn-{player}", RedisChannel.PatternMode.Literal);
}
