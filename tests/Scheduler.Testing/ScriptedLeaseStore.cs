using Scheduler.Locking;

namespace Scheduler.Testing;

/// <summary>
/// A lease store that a test directs: without a script it keeps grants in memory by the given clock; every call can be held open,
/// answered, or failed. Thread-safe.
/// </summary>
public sealed class ScriptedLeaseStore(TimeProvider time) : ILeaseStore
{
    private readonly Lock _gate = new();
    private readonly Dictionary<LockKey, Entry> _entries = [];
    private readonly List<Action<LockKey>> _subscribers = [];
    private long _number;
    private int _acquires;
    private int _renewals;
    private int _releases;
    private int _checks;
    private int _subscriptions;
    private int _largestBatch;
    private int _disposals;

    public LeaseStoreTraits Traits { get; set; } =
        new(
            "scripted",
            Level.Correctness,
            Fifo: false,
            PushesReleases: true,
            HostLocal: false,
            TimeSpan.FromSeconds(1),
            MaxRenewalBatch: 250
        );

    /// <summary>Each script answers in the store's place; it may wait, throw, or go on with the second argument (what the store would
    /// do).</summary>
    public Func<AcquireRequest, Func<AcquireResult>, CancellationToken, ValueTask<AcquireResult>>? OnAcquire { get; set; }

    public Func<IReadOnlyList<RenewalItem>, Func<RenewalReply>, CancellationToken, ValueTask<RenewalReply>>? OnRenew { get; set; }

    public Func<LeaseOwner, Func<ReleaseResult>, CancellationToken, ValueTask<ReleaseResult>>? OnRelease { get; set; }

    public Func<LockStoreUse, CancellationToken, ValueTask<LeaseStoreInfo>>? OnCheck { get; set; }

    public Func<CancellationToken, ValueTask>? OnSubscribe { get; set; }

    public DateTimeOffset? ServerTime { get; set; }

    /// <summary>Whether a release is reported to the subscribers.</summary>
    public bool Pushes { get; set; } = true;

    public int Acquires => Volatile.Read(ref _acquires);

    public int Renewals => Volatile.Read(ref _renewals);

    public int Releases => Volatile.Read(ref _releases);

    public int Checks => Volatile.Read(ref _checks);

    public int Subscriptions => Volatile.Read(ref _subscriptions);

    public int LargestBatch => Volatile.Read(ref _largestBatch);

    public int Disposals => Volatile.Read(ref _disposals);

    public int Held
    {
        get
        {
            lock (_gate)
            {
                return _entries.Values.Count(IsLive);
            }
        }
    }

    /// <summary>Who has the key now.</summary>
    public LeaseOwner? OwnerOf(LockKey key)
    {
        lock (_gate)
        {
            return Find(key)?.Owner;
        }
    }

    /// <summary>Grants a key to another replica.</summary>
    public void GrantToOther(LockKey key, TimeSpan duration)
    {
        lock (_gate)
        {
            _entries[key] = new Entry(new LeaseOwner("other", 1), "other's work", ++_number, Until(duration));
        }
    }

    /// <summary>Forgets the grant of a key.</summary>
    public void Forget(LockKey key)
    {
        lock (_gate)
        {
            _entries.Remove(key);
        }
    }

    public void Push(LockKey key)
    {
        Action<LockKey>[] subscribers;
        lock (_gate)
        {
            subscribers = [.. _subscribers];
        }
        foreach (var subscriber in subscribers)
        {
            subscriber(key);
        }
    }

    public ValueTask<LeaseStoreInfo> CheckAsync(LockStoreUse use, CancellationToken cancellationToken)
    {
        Interlocked.Increment(ref _checks);
        return OnCheck?.Invoke(use, cancellationToken) ?? new(new LeaseStoreInfo("store-1", Level.Correctness, []));
    }

    public ValueTask<StateMark?> PairAsync(StateMark? mark, TimeSpan replaceAfter, CancellationToken cancellationToken) => new(mark);

    public ValueTask<AcquireResult> AcquireAsync(AcquireRequest request, CancellationToken cancellationToken)
    {
        Interlocked.Increment(ref _acquires);
        return OnAcquire?.Invoke(request, () => Acquire(request), cancellationToken) ?? new(Acquire(request));
    }

    public ValueTask<RenewalReply> RenewAsync(IReadOnlyList<RenewalItem> batch, CancellationToken cancellationToken)
    {
        Interlocked.Increment(ref _renewals);
        lock (_gate)
        {
            _largestBatch = Math.Max(_largestBatch, batch.Count);
        }
        return OnRenew?.Invoke(batch, () => Renew(batch), cancellationToken) ?? new(Renew(batch));
    }

    public async ValueTask<ReleaseResult> ReleaseAsync(LockKey key, LeaseOwner owner, CancellationToken cancellationToken)
    {
        Interlocked.Increment(ref _releases);
        var result = OnRelease is { } script ? await script(owner, () => Release(key, owner), cancellationToken) : Release(key, owner);
        if (result.Released && Pushes)
        {
            Push(key);
        }
        return result;
    }

    public ValueTask<RevokeResult> RevokeAsync(LockKey key, long number, CancellationToken cancellationToken)
    {
        lock (_gate)
        {
            if (Find(key) is not { } entry || entry.Number != number)
            {
                return new(new RevokeResult(false, TimeSpan.Zero));
            }
            entry.Revoked = true;
            return new(new RevokeResult(true, RemainingOf(entry)));
        }
    }

    public ValueTask<LeaseRecord?> ReadAsync(LockKey key, CancellationToken cancellationToken)
    {
        lock (_gate)
        {
            return new(Find(key) is { } e ? new LeaseRecord(key, e.Owner.Replica, e.Purpose, e.Number, RemainingOf(e), e.Revoked) : null);
        }
    }

    public ValueTask<LeasePage> ListAsync(string prefix, int limit, string? cursor, CancellationToken cancellationToken)
    {
        lock (_gate)
        {
            var items = _entries
                .Where(e => IsLive(e.Value) && e.Key.Value.StartsWith(prefix, StringComparison.Ordinal))
                .OrderBy(e => e.Key)
                .Select(e => new LeaseRecord(
                    e.Key,
                    e.Value.Owner.Replica,
                    e.Value.Purpose,
                    e.Value.Number,
                    RemainingOf(e.Value),
                    e.Value.Revoked
                ))
                .Take(limit)
                .ToList();
            return new(new LeasePage(items, null));
        }
    }

    public async ValueTask<IAsyncDisposable> SubscribeAsync(Action<LockKey> mayBeFree, CancellationToken cancellationToken)
    {
        if (OnSubscribe is { } script)
        {
            await script(cancellationToken);
        }
        lock (_gate)
        {
            _subscribers.Add(mayBeFree);
        }
        Interlocked.Increment(ref _subscriptions);
        return new Subscription(this, mayBeFree);
    }

    public ValueTask DisposeAsync()
    {
        Interlocked.Increment(ref _disposals);
        return default;
    }

    private AcquireResult Acquire(AcquireRequest request)
    {
        lock (_gate)
        {
            if (Find(request.Key) is { } held)
            {
                held.Contended |= held.Owner.Replica != request.Owner.Replica;
                return new AcquireResult.Held(held.Owner.Replica, held.Purpose, RemainingOf(held));
            }
            _entries[request.Key] = new Entry(request.Owner, request.Purpose, ++_number, Until(request.Duration));
            return new AcquireResult.Granted(_number, ServerTime);
        }
    }

    private RenewalReply Renew(IReadOnlyList<RenewalItem> batch)
    {
        lock (_gate)
        {
            var outcomes = new RenewalOutcome[batch.Count];
            for (var i = 0; i < batch.Count; i++)
            {
                var entry = Find(batch[i].Key);
                outcomes[i] =
                    entry is null || entry.Owner != batch[i].Owner ? RenewalOutcome.Lost
                    : entry.Revoked ? RenewalOutcome.Revoked
                    : RenewalOutcome.Renewed;
                if (outcomes[i] == RenewalOutcome.Renewed)
                {
                    entry!.Until = Until(batch[i].Duration);
                }
            }
            return new RenewalReply(outcomes, ServerTime);
        }
    }

    private ReleaseResult Release(LockKey key, LeaseOwner owner)
    {
        lock (_gate)
        {
            if (Find(key) is not { } entry || entry.Owner != owner)
            {
                return default;
            }
            _entries.Remove(key);
            return new ReleaseResult(Released: true, entry.Contended);
        }
    }

    private Entry? Find(LockKey key) => _entries.TryGetValue(key, out var entry) && IsLive(entry) ? entry : null;

    private bool IsLive(Entry entry) => time.GetTimestamp() < entry.Until;

    private long Until(TimeSpan duration) => time.GetTimestamp() + (long)(duration.TotalSeconds * time.TimestampFrequency);

    private TimeSpan RemainingOf(Entry entry) =>
        TimeSpan.FromSeconds((entry.Until - time.GetTimestamp()) / (double)time.TimestampFrequency);

    private sealed class Entry(LeaseOwner owner, string purpose, long number, long until)
    {
        public LeaseOwner Owner { get; } = owner;

        public string Purpose { get; } = purpose;

        public long Number { get; } = number;

        public long Until { get; set; } = until;

        public bool Revoked { get; set; }

        public bool Contended { get; set; }
    }

    private sealed class Subscription(ScriptedLeaseStore store, Action<LockKey> mayBeFree) : IAsyncDisposable
    {
        public ValueTask DisposeAsync()
        {
            lock (store._gate)
            {
                store._subscribers.Remove(mayBeFree);
            }
            return default;
        }
    }
}
