using Scheduler.Inbox;
using Scheduler.Runs;

namespace Scheduler.Postgres.Signals;

/// <summary>Signals that the inbox may have something due: at most one in 10 ms of each replica, whatever the load. Thread-safe.</summary>
internal sealed class PostgresInboxFeed : IInboxFeed
{
    private static readonly TimeSpan Between = TimeSpan.FromMilliseconds(10);

    private readonly PostgresListener _listener;
    private readonly Func<string, string, CancellationToken, ValueTask> _send;
    private readonly TimeProvider _time;
    private readonly string _channel;
    private readonly string _self = Guid.NewGuid().ToString("n");
    private long _wanted;

    public PostgresInboxFeed(
        PostgresListener listener,
        Func<string, string, CancellationToken, ValueTask> send,
        string schema,
        string group,
        TimeProvider time
    )
    {
        (_listener, _send, _time) = (listener, send, time);
        _channel = ChannelName.Of(schema, group, "inbox");
        listener.Listen(
            _channel,
            sender =>
            {
                if (sender != _self)
                {
                    Heard?.Invoke();
                }
            }
        );
        listener.MayHaveMissed += () => Heard?.Invoke();
    }

    public bool IsHeard => _listener.IsHeard;

    /// <summary>Whether nothing is to be sent.</summary>
    internal bool IsQuiet => Volatile.Read(ref _wanted) == 0;

    public event Action? Heard;

    public void Send()
    {
        Heard?.Invoke();
        if (Interlocked.Increment(ref _wanted) == 1)
        {
            _ = Task.Run(SendAsync);
        }
    }

    private async Task SendAsync()
    {
        long seen;
        do
        {
            seen = Volatile.Read(ref _wanted);
            try
            {
                await _send(_channel, _self, CancellationToken.None);
            }
            catch (StateUnavailableException)
            {
                // The others look by themselves, too.
            }
            await Task.Delay(Between, _time);
        } while (Interlocked.CompareExchange(ref _wanted, 0, seen) != seen);
    }
}
