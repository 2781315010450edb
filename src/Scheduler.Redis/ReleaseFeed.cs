using System.Collections.Immutable;
using Microsoft.Extensions.Logging;
using Scheduler.Locking;
using Scheduler.Redis.Telemetry;
using StackExchange.Redis;

namespace Scheduler.Redis;

/// <summary>
/// The group's one subscription to released keys. The client reports success for a SUBSCRIBE that never reached a server, so the feed
/// trusts only what it hears: it publishes a mark and waits for it. Thread-safe.
/// </summary>
internal sealed class ReleaseFeed : IDisposable
{
    // No lock key starts with a control character.
    private const char MarkStart = '\u0001';

    private readonly SemaphoreSlim _one = new(1, 1);
    private readonly RedisConnection _connection;
    private readonly RedisNames _names;
    private readonly ILogger _log;
    private readonly LogGate _problems;
    private ImmutableArray<Entry> _entries = [];
    private TaskCompletionSource? _heard;
    private string? _mark;
    private ISubscriber? _subscribedTo;
    private bool _hearing;
    private volatile bool _disposed;

    public ReleaseFeed(RedisConnection connection, RedisNames names, TimeProvider time, ILogger log)
    {
        _connection = connection;
        _names = names;
        _log = log;
        _problems = new LogGate(TimeSpan.FromSeconds(10), time);
        connection.Restored += OnRestored;
    }

    /// <summary>Whether the last proof of hearing succeeded and the connection has been there since.</summary>
    public bool IsHearing => Volatile.Read(ref _hearing);

    public Task<IAsyncDisposable> AddAsync(Action<LockKey> mayBeFree, CancellationToken cancellationToken) =>
        AddRawAsync(
            text =>
            {
                // Those that one call released come together.
                foreach (var released in text.Split('\n'))
                {
                    if (LockKey.Problem(released) is null)
                    {
                        mayBeFree(LockKey.From(released));
                    }
                }
            },
            cancellationToken
        );

    /// <summary>Passes on messages as they are, but for the marks.</summary>
    public async Task<IAsyncDisposable> AddRawAsync(Action<string> heard, CancellationToken cancellationToken)
    {
        var entry = new Entry(this, heard);
        ImmutableInterlocked.Update(ref _entries, static (all, one) => all.Add(one), entry);
        try
        {
            await EnsureAsync(cancellationToken);
            return entry;
        }
        catch
        {
            await entry.DisposeAsync();
            throw;
        }
    }

    /// <summary>Sees to it that reports flow, if anybody wants them.</summary>
    /// <exception cref="StoreUnavailableException">They do not.</exception>
    public async Task EnsureAsync(CancellationToken cancellationToken)
    {
        if (_entries.IsEmpty)
        {
            return;
        }
        await _one.WaitAsync(cancellationToken);
        try
        {
            Volatile.Write(ref _hearing, false);
            var subscriber = await _connection.SubscriberAsync(cancellationToken);
            if (!ReferenceEquals(_subscribedTo?.Multiplexer, subscriber.Multiplexer))
            {
                await SubscribeAsync(subscriber, cancellationToken);
            }
            if (!await HearsAsync(subscriber, cancellationToken))
            {
                await subscriber.UnsubscribeAsync(_names.Released, OnMessage, CommandFlags.FireAndForget);
                await SubscribeAsync(subscriber, cancellationToken);
                if (!await HearsAsync(subscriber, cancellationToken))
                {
                    throw new StoreUnavailableException(
                        $"Redis at {_connection.Endpoint}: SUBSCRIBE had no effect; check that the user may use the channel "
                            + $"'{_names.ReleasedChannel}' and that the server answers."
                    );
                }
            }
            Volatile.Write(ref _hearing, true);
        }
        finally
        {
            _one.Release();
        }
    }

    /// <summary>The same in the background; a failure is logged.</summary>
    public void EnsureSoon()
    {
        if (!_disposed && !_entries.IsEmpty)
        {
            _ = EnsureInBackgroundAsync();
        }
    }

    public void Dispose()
    {
        _disposed = true;
        _connection.Restored -= OnRestored;
        _entries = [];
    }

    private async Task SubscribeAsync(ISubscriber subscriber, CancellationToken cancellationToken)
    {
        _subscribedTo = null;
        await _connection.Bounded.WaitAsync(DoneAsync(subscriber.SubscribeAsync(_names.Released, OnMessage)), cancellationToken);
        _subscribedTo = subscriber;

        static async Task<bool> DoneAsync(Task task)
        {
            await task;
            return true;
        }
    }

    private async Task<bool> HearsAsync(ISubscriber subscriber, CancellationToken cancellationToken)
    {
        var heard = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        var mark = MarkStart + Guid.NewGuid().ToString("n");
        (_heard, _mark) = (heard, mark);
        await _connection.Bounded.WaitAsync(subscriber.PublishAsync(_names.Released, mark), cancellationToken);
        try
        {
            await heard.Task.WaitAsync(_connection.Bounded.Limit, _connection.Bounded.Time, cancellationToken);
            return true;
        }
        catch (TimeoutException)
        {
            return false;
        }
    }

    private void OnMessage(RedisChannel channel, RedisValue message)
    {
        var text = (string?)message;
        if (string.IsNullOrEmpty(text))
        {
            return;
        }
        if (text[0] == MarkStart)
        {
            if (text == Volatile.Read(ref _mark))
            {
                _heard?.TrySetResult();
            }
            return;
        }
        foreach (var entry in _entries)
        {
            try
            {
                entry.Heard(text);
            }
#pragma warning disable CA1031 // The contract forbids subscribers to throw; one that does must not silence the others.
            catch (Exception exception)
#pragma warning restore CA1031
            {
                _log.SubscriberFailed(exception);
            }
        }
    }

    private void OnRestored(object? sender, ConnectionFailedEventArgs restored)
    {
        if (restored.ConnectionType == ConnectionType.Subscription)
        {
            EnsureSoon();
        }
    }

    private async Task EnsureInBackgroundAsync()
    {
        try
        {
            await EnsureAsync(CancellationToken.None);
        }
#pragma warning disable CA1031 // Nobody awaits this; whatever is wrong, waiting goes on by polling.
        catch (Exception exception)
#pragma warning restore CA1031
        {
            if (!_disposed && _problems.Opens(out _))
            {
                _log.SubscriptionBroken(_connection.Endpoint, _connection.Translate(exception).Message);
            }
        }
    }

    private sealed class Entry(ReleaseFeed feed, Action<string> heard) : IAsyncDisposable
    {
        public Action<string> Heard { get; } = heard;

        public ValueTask DisposeAsync()
        {
            // The subscription itself stays: it is one per group, and the next subscriber finds it proven.
            ImmutableInterlocked.Update(ref feed._entries, static (all, one) => all.Remove(one), this);
            return ValueTask.CompletedTask;
        }
    }
}
