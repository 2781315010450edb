using System.Collections.Immutable;
using Scheduler.Locking;
using Scheduler.Postgres.Signals;

namespace Scheduler.Postgres.Leases;

/// <summary>Passes on to those who subscribed which keys of the group were freed, over one connection that listens. Thread-safe.</summary>
internal sealed class ReleaseSignals
{
    private readonly PostgresListener _listener;
    private readonly string _endpoint;
    private readonly TimeSpan _limit;
    private ImmutableArray<Subscription> _subscriptions = [];

    public ReleaseSignals(PostgresListener listener, string channel, string endpoint, TimeSpan limit)
    {
        (_listener, _endpoint, _limit) = (listener, endpoint, limit);
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
        foreach (var key in keys.Split('\n').Where(k => LockKey.Problem(k) is null))
        {
            Report(LockKey.From(key));
        }
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
