namespace Scheduler.Locking.InMemory;

/// <summary>The grants of one group. Guarded by the server's lock; times are timestamps of the server's clock.</summary>
internal sealed class InMemoryGroup(TimeProvider time)
{
    private const int SmallestSweep = 64;
    private readonly Dictionary<string, Grant> _grants = new(StringComparer.Ordinal);

    // One counter for all keys: it grows for each of them, is kept after every release, and needs no memory per key.
    private long _lastNumber;
    private int _sweepAt = SmallestSweep;
    private StateMark? _state;
    private long _stateBeat;

    public Dictionary<object, Action<LockKey>> Subscribers { get; } = [];

    public StateMark? Pair(StateMark? mark, TimeSpan replaceAfter, long now)
    {
        var age = _state is null ? TimeSpan.Zero : time.GetElapsedTime(_stateBeat, now);
        if (mark is not null && (_state is null || _state.Id == mark.Id || age >= replaceAfter))
        {
            _state = mark with { Generation = Math.Max(mark.Generation, _state?.Generation ?? 0) };
            (_stateBeat, age) = (now, TimeSpan.Zero);
        }
        return _state is null ? null : _state with { Age = age };
    }

    public AcquireResult Acquire(in AcquireRequest request, long now)
    {
        if (Find(request.Key, now) is { } present)
        {
            present.Contended |= present.Owner.Replica != request.Owner.Replica;
            return new AcquireResult.Held(present.Owner.Replica, present.Purpose, Remaining(present, now));
        }
        Sweep(now);
        var microseconds = (time.GetUtcNow() - DateTimeOffset.UnixEpoch).Ticks / TimeSpan.TicksPerMicrosecond;
        _lastNumber = Math.Max(_lastNumber + 1, microseconds);
        _grants[request.Key.Value] = new Grant(request.Owner, request.Purpose, _lastNumber, End(now, request.Duration));
        return new AcquireResult.Granted(_lastNumber);
    }

    public RenewalOutcome Renew(in RenewalItem item, long now)
    {
        if (Find(item.Key, now) is not { } grant || grant.Owner != item.Owner || grant.Number != item.Number)
        {
            return RenewalOutcome.Lost;
        }
        if (grant.Revoked)
        {
            return RenewalOutcome.Revoked;
        }
        grant.EndsAt = End(now, item.Duration);
        return RenewalOutcome.Renewed;
    }

    public ReleaseResult Release(LockKey key, LeaseOwner owner, long now)
    {
        if (Find(key, now) is not { } grant || grant.Owner != owner)
        {
            return default;
        }
        _grants.Remove(key.Value);
        return new ReleaseResult(Released: true, grant.Contended);
    }

    public RevokeResult Revoke(LockKey key, long number, long now)
    {
        if (Find(key, now) is not { } grant)
        {
            return default;
        }
        var named = grant.Number == number;
        grant.Revoked |= named;
        return new RevokeResult(named, Remaining(grant, now));
    }

    public LeaseRecord? Read(LockKey key, long now) => Find(key, now) is { } grant ? Show(key.Value, grant, now) : null;

    public LeasePage List(string prefix, int limit, string? cursor, long now)
    {
        var found = _grants
            .Where(g => g.Value.EndsAt > now && g.Key.StartsWith(prefix, StringComparison.Ordinal))
            .Where(g => cursor is null || string.CompareOrdinal(g.Key, cursor) > 0)
            .OrderBy(g => g.Key, StringComparer.Ordinal)
            .Take(limit + 1)
            .Select(g => Show(g.Key, g.Value, now))
            .ToList();
        return found.Count <= limit ? new LeasePage(found, Next: null) : new LeasePage(found[..limit], found[limit - 1].Key.Value);
    }

    private Grant? Find(LockKey key, long now)
    {
        if (!_grants.TryGetValue(key.Value, out var grant))
        {
            return null;
        }
        if (grant.EndsAt > now)
        {
            return grant;
        }
        _grants.Remove(key.Value);
        return null;
    }

    /// <summary>Forgets expired grants that nobody asks for, at a cost that is constant per grant.</summary>
    private void Sweep(long now)
    {
        if (_grants.Count < _sweepAt)
        {
            return;
        }
        foreach (var (key, _) in _grants.Where(g => g.Value.EndsAt <= now).ToList())
        {
            _grants.Remove(key);
        }
        _sweepAt = Math.Max(SmallestSweep, 2 * _grants.Count);
    }

    private LeaseRecord Show(string key, Grant grant, long now) =>
        new(LockKey.From(key), grant.Owner.Replica, grant.Purpose, grant.Number, Remaining(grant, now), grant.Revoked);

    private TimeSpan Remaining(Grant grant, long now) => time.GetElapsedTime(now, grant.EndsAt);

    private long End(long now, TimeSpan duration) => now + (long)(duration.TotalSeconds * time.TimestampFrequency);

    private sealed class Grant(LeaseOwner owner, string purpose, long number, long endsAt)
    {
        public LeaseOwner Owner { get; } = owner;

        public string Purpose { get; } = purpose;

        public long Number { get; } = number;

        public long EndsAt { get; set; } = endsAt;

        public bool Contended { get; set; }

        public bool Revoked { get; set; }
    }
}
