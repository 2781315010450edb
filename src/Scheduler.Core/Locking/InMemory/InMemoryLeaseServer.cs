namespace Scheduler.Locking.InMemory;

/// <summary>
/// What a lock server is to other stores: keeps the grants of all groups and expires them by its own clock. Several
/// <see cref="InMemoryLeaseStore"/>s that share one model the replicas of one process. Thread-safe.
/// </summary>
/// <remarks>Lives and dies with the object: a new one knows no grants, yet its numbers go on, because they follow the time.</remarks>
public sealed class InMemoryLeaseServer
{
    private readonly Lock _gate = new();
    private readonly TimeProvider _time;
    private readonly Dictionary<string, InMemoryGroup> _groups = new(StringComparer.Ordinal);

    /// <summary>Makes a server without grants.</summary>
    /// <param name="time">Its clocks: the monotonic one expires grants, the wall clock numbers them; default: the system's.</param>
    public InMemoryLeaseServer(TimeProvider? time = null) => _time = time ?? TimeProvider.System;

    internal string Id { get; } = Guid.NewGuid().ToString("n");

    internal AcquireResult Acquire(string group, in AcquireRequest request)
    {
        lock (_gate)
        {
            return Group(group).Acquire(request, _time.GetTimestamp());
        }
    }

    internal StateMark? Pair(string group, StateMark? mark, TimeSpan replaceAfter)
    {
        lock (_gate)
        {
            return Group(group).Pair(mark, replaceAfter, _time.GetTimestamp());
        }
    }

    internal RenewalOutcome[] Renew(string group, IReadOnlyList<RenewalItem> batch)
    {
        lock (_gate)
        {
            var (grants, now) = (Group(group), _time.GetTimestamp());
            return [.. batch.Select(item => grants.Renew(item, now))];
        }
    }

    internal ReleaseResult Release(string group, LockKey key, LeaseOwner owner)
    {
        ReleaseResult result;
        Action<LockKey>[] told;
        lock (_gate)
        {
            var grants = Group(group);
            result = grants.Release(key, owner, _time.GetTimestamp());
            told = result.Released ? [.. grants.Subscribers.Values] : [];
        }
        // Outside the lock: whoever is told may ask for the key at once.
        foreach (var mayBeFree in told)
        {
            mayBeFree(key);
        }
        return result;
    }

    internal RevokeResult Revoke(string group, LockKey key, long number)
    {
        lock (_gate)
        {
            return Group(group).Revoke(key, number, _time.GetTimestamp());
        }
    }

    internal LeaseRecord? Read(string group, LockKey key)
    {
        lock (_gate)
        {
            return Group(group).Read(key, _time.GetTimestamp());
        }
    }

    internal LeasePage List(string group, string prefix, int limit, string? cursor)
    {
        lock (_gate)
        {
            return Group(group).List(prefix, limit, cursor, _time.GetTimestamp());
        }
    }

    internal void Subscribe(string group, object subscription, Action<LockKey> mayBeFree)
    {
        lock (_gate)
        {
            Group(group).Subscribers.Add(subscription, mayBeFree);
        }
    }

    internal void Unsubscribe(string group, object subscription)
    {
        lock (_gate)
        {
            Group(group).Subscribers.Remove(subscription);
        }
    }

    private InMemoryGroup Group(string name)
    {
        if (!_groups.TryGetValue(name, out var group))
        {
            _groups.Add(name, group = new InMemoryGroup(_time));
        }
        return group;
    }
}
