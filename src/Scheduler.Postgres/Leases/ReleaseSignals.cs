using System.Collections.Concurrent;
using System.Collections.Immutable;
using Scheduler.Hosting;
using Scheduler.Locking;
using Scheduler.Postgres.Signals;

namespace Scheduler.Postgres.Leases;

/// <summary>
/// Passes on to those who subscribed which keys of the group were freed, over one connection that listens. Thread-safe.
/// </summary>
/// <remarks>
/// A signal has a key on each line, and behind a tab the id of the replica whose turn it is, where some wait in order. The others are told
/// a moment later: their questions would be refused, and take the server's time just when the first one's is answered. They are told all
/// the same, because that one may have died.
/// </remarks>
internal sealed class ReleaseSignals
{
    /// <summary>How much later those are told whose turn it is not; what is freed meanwhile is told with it.</summary>
    public static readonly TimeSpan Later = TimeSpan.FromMilliseconds(25);

    private readonly PostgresListener _listener;
    private readonly string _replica;
    private readonly TimeProvider _time;
    private readonly string _endpoint;
    private readonly TimeSpan _limit;
    private readonly ConcurrentDictionary<LockKey, byte> _later = new();
    private ImmutableArray<Subscription> _subscriptions = [];

    /// <summary>Begins to listen with the first subscriber.</summary>
    /// <param name="listener">Hears them.</param>
    /// <param name="channel">Where they are sent.</param>
    /// <param name="context">The replica and its clocks.</param>
    /// <param name="endpoint">For messages.</param>
    /// <param name="limit">How long a subscriber waits until they are heard.</param>
    public ReleaseSignals(PostgresListener listener, string channel, BackendContext context, string endpoint, TimeSpan limit)
    {
        (_listener, _replica, _time, _endpoint, _limit) = (listener, context.Replica.Id, context.Time, endpoint, limit);
        listener.Listen(channel, Hear);
    }

    /// <summary>Adds a subscriber once signals are heard.</summary>
    /// <exception cref="StoreUnavailableException">They are not heard within the limit of a call.</exception>
    public async Task<IAsyncDisposable> AddAsync(Action<LockKey> mayBeFree, CancellationToken cancellationToken)
    {
        _listener.Start();
        if (!await _listener.WaitUntilHeardAsync(_limit, cancellationToken))
        {
            throw new StoreUnavailableException(
                $"Releases are not heard at PostgreSQL at {_endpoint} (Scheduler:Locks:ListenConnectionString); the log says why "
                    + "(event 2206)."
            );
        }
        var subscription = new Subscription(this, mayBeFree);
        ImmutableInterlocked.Update(ref _subscriptions, static (all, one) => all.Add(one), subscription);
        return subscription;
    }

    /// <summary>Whether anybody has subscribed.</summary>
    public bool HasSubscribers => !_subscriptions.IsEmpty;

    /// <summary>Tells those who subscribed that a key may be free.</summary>
    public void Report(LockKey key)
    {
        foreach (var subscription in _subscriptions)
        {
            subscription.MayBeFree(key);
        }
    }

    private void Hear(string keys)
    {
        foreach (var line in keys.Split('\n'))
        {
            var tab = line.IndexOf('\t', StringComparison.Ordinal);
            var text = tab < 0 ? line : line[..tab];
            if (LockKey.Problem(text) is not null)
            {
                continue;
            }
            var key = LockKey.From(text);
            if (tab < 0 || line.AsSpan(tab + 1).SequenceEqual(_replica))
            {
                Report(key);
            }
            else if (HasSubscribers && _later.TryAdd(key, 0))
            {
                _ = ReportLaterAsync(key);
            }
        }
    }

    private async Task ReportLaterAsync(LockKey key)
    {
        await Task.Delay(Later, _time);
        _later.TryRemove(key, out _);
        Report(key);
    }

    private sealed class Subscription(ReleaseSignals signals, Action<LockKey> mayBeFree) : IAsyncDisposable
    {
        public Action<LockKey> MayBeFree => mayBeFree;

        public ValueTask DisposeAsync()
        {
            ImmutableInterlocked.Update(ref signals._subscriptions, static (all, one) => all.Remove(one), this);
            return ValueTask.CompletedTask;
        }
    }
}
