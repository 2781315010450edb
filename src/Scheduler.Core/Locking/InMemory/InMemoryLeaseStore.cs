using System.Collections.Concurrent;

namespace Scheduler.Locking.InMemory;

/// <summary>
/// Leases in the memory of this process, for tests and for a single replica: as strict as a real store, and forgotten with the
/// process. Thread-safe.
/// </summary>
/// <remarks>Reports of released keys come on the thread that released. Cancelled calls change nothing.</remarks>
public sealed class InMemoryLeaseStore : ILeaseStore
{
    private const int LargestPage = 1_000;
    private static readonly TimeSpan ShortestGrant = TimeSpan.FromMilliseconds(50);

    private readonly InMemoryLeaseServer _server;
    private readonly string _group;
    private readonly ConcurrentDictionary<Subscription, byte> _subscriptions = [];
    private volatile bool _disposed;

    /// <summary>Makes one replica's client of a server.</summary>
    /// <param name="server">Where the grants are.</param>
    /// <param name="group">The group; stores of another group share nothing with this one.</param>
    /// <exception cref="ArgumentException">The group is empty.</exception>
    public InMemoryLeaseStore(InMemoryLeaseServer server, string group)
    {
        ArgumentNullException.ThrowIfNull(server);
        ArgumentException.ThrowIfNullOrEmpty(group);
        _server = server;
        _group = group;
    }

    /// <inheritdoc/>
    public LeaseStoreTraits Traits { get; } =
        new(
            "memory",
            Level.Efficiency,
            Fifo: false,
            PushesReleases: true,
            HostLocal: true,
            PollInterval: TimeSpan.FromSeconds(1),
            MaxRenewalBatch: 1_000,
            IsEphemeral: true
        );

    /// <inheritdoc/>
    public ValueTask<LeaseStoreInfo> CheckAsync(LockStoreUse use, CancellationToken cancellationToken)
    {
        Enter(cancellationToken);
        return ValueTask.FromResult(new LeaseStoreInfo(_server.Id, Traits.Level, []));
    }

    /// <inheritdoc/>
    public ValueTask<StateMark?> PairAsync(StateMark? mark, TimeSpan replaceAfter, CancellationToken cancellationToken)
    {
        Enter(cancellationToken);
        return ValueTask.FromResult(_server.Pair(_group, mark, replaceAfter));
    }

    /// <inheritdoc/>
    public ValueTask<AcquireResult> AcquireAsync(AcquireRequest request, CancellationToken cancellationToken)
    {
        cancellationToken.ThrowIfCancellationRequested();
        Check(request.Key);
        ArgumentOutOfRangeException.ThrowIfLessThan(request.Duration, ShortestGrant, nameof(request));
        return ValueTask.FromResult(_disposed ? new AcquireResult.Unavailable(DisposedMessage) : _server.Acquire(_group, request));
    }

    /// <inheritdoc/>
    public ValueTask<RenewalReply> RenewAsync(IReadOnlyList<RenewalItem> batch, CancellationToken cancellationToken)
    {
        Enter(cancellationToken);
        ArgumentNullException.ThrowIfNull(batch);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(batch.Count, Traits.MaxRenewalBatch, nameof(batch));
        return ValueTask.FromResult(new RenewalReply(_server.Renew(_group, batch)));
    }

    /// <inheritdoc/>
    public ValueTask<ReleaseResult> ReleaseAsync(LockKey key, LeaseOwner owner, CancellationToken cancellationToken)
    {
        Enter(cancellationToken);
        Check(key);
        return ValueTask.FromResult(_server.Release(_group, key, owner));
    }

    /// <inheritdoc/>
    public ValueTask<RevokeResult> RevokeAsync(LockKey key, long number, CancellationToken cancellationToken)
    {
        Enter(cancellationToken);
        Check(key);
        return ValueTask.FromResult(_server.Revoke(_group, key, number));
    }

    /// <inheritdoc/>
    public ValueTask<LeaseRecord?> ReadAsync(LockKey key, CancellationToken cancellationToken)
    {
        Enter(cancellationToken);
        Check(key);
        return ValueTask.FromResult(_server.Read(_group, key));
    }

    /// <inheritdoc/>
    public ValueTask<LeasePage> ListAsync(string prefix, int limit, string? cursor, CancellationToken cancellationToken)
    {
        Enter(cancellationToken);
        ArgumentNullException.ThrowIfNull(prefix);
        ArgumentOutOfRangeException.ThrowIfLessThan(limit, 1);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(limit, LargestPage);
        return ValueTask.FromResult(_server.List(_group, prefix, limit, cursor));
    }

    /// <inheritdoc/>
    public ValueTask<IAsyncDisposable> SubscribeAsync(Action<LockKey> mayBeFree, CancellationToken cancellationToken)
    {
        Enter(cancellationToken);
        ArgumentNullException.ThrowIfNull(mayBeFree);
        var subscription = new Subscription(this);
        _subscriptions.TryAdd(subscription, 0);
        _server.Subscribe(_group, subscription, mayBeFree);
        return ValueTask.FromResult<IAsyncDisposable>(subscription);
    }

    /// <summary>Ends the subscriptions of this client; its grants stay until they are over, as on any server.</summary>
    public async ValueTask DisposeAsync()
    {
        _disposed = true;
        foreach (var subscription in _subscriptions.Keys)
        {
            await subscription.DisposeAsync();
        }
    }

    private const string DisposedMessage = "This client of the memory lock store was disposed of; make another one.";

    private void Enter(CancellationToken cancellationToken)
    {
        cancellationToken.ThrowIfCancellationRequested();
        if (_disposed)
        {
            throw new StoreUnavailableException(DisposedMessage);
        }
    }

    private static void Check(LockKey key)
    {
        if (LockKey.Problem(key.Value) is { } problem)
        {
            throw new ArgumentException(problem, nameof(key));
        }
    }

    private sealed class Subscription(InMemoryLeaseStore store) : IAsyncDisposable
    {
        public ValueTask DisposeAsync()
        {
            store._subscriptions.TryRemove(this, out _);
            store._server.Unsubscribe(store._group, this);
            return ValueTask.CompletedTask;
        }
    }
}
