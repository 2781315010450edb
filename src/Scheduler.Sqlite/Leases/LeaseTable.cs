using System.Globalization;
using Microsoft.Data.Sqlite;
using Scheduler.Locking;

namespace Scheduler.Sqlite.Leases;

/// <summary>
/// What each command of the store does to the rows, within one transaction of <see cref="LeaseSession"/>. Not thread-safe.
/// </summary>
internal sealed class LeaseTable(LeaseDatabase database, ReplicaLocks replicas, HostClock clock, string group)
{
    private const int SweepEvery = 1_000;
    private const int MostDeadRemoved = 100;
    private const string OpensAt = "opens_at";
    private readonly Dictionary<string, bool> _dead = new(StringComparer.Ordinal);
    private readonly List<(string Key, string Replica)> _broken = [];
    private readonly List<string> _toRemove = [];
    private readonly long _opensAt = ReadOpensAt(database, clock);
    private long? _lastNumber;
    private int _grantsUntilSweep = SweepEvery;

    /// <summary>The leases of dead replicas that this transaction gave to others.</summary>
    public IReadOnlyList<(string Key, string Replica)> Broken => _broken;

    /// <summary>Forbids grants for a while, because the database before this one may have left holders. Valid until a boot.</summary>
    public static void HoldGrants(LeaseDatabase database, HostClock clock, TimeSpan duration) =>
        database.WriteMeta(
            OpensAt,
            string.Create(CultureInfo.InvariantCulture, $"{clock.Now + HostClock.Nanoseconds(duration)} {clock.BootId}")
        );

    /// <summary>How long no grants are made yet.</summary>
    public TimeSpan ClosedFor => HostClock.Between(clock.Now, _opensAt);

    /// <summary>Forgets what the transaction before saw.</summary>
    public void Begin()
    {
        _dead.Clear();
        _broken.Clear();
        _toRemove.Clear();
        _lastNumber = null;
    }

    /// <summary>Writes what the transaction has kept in memory.</summary>
    public void Flush()
    {
        if (_lastNumber is { } last)
        {
            database.WriteNumber.With(last).ExecuteNonQuery();
        }
    }

    /// <summary>See <see cref="ILeaseStore.PairAsync"/>; a State that was confirmed before this boot of the host is silent.</summary>
    public StateMark? Pair(StateMark? mark, TimeSpan replaceAfter)
    {
        var noted = StateNote.Read(database, group);
        var age = noted is null || noted.Boot != clock.BootId ? replaceAfter : HostClock.Between(noted.ConfirmedAt, clock.Now);
        if (mark is null || (noted is not null && noted.Id != mark.Id && age < replaceAfter))
        {
            return noted is null ? null : new StateMark(noted.Id, noted.Label, noted.Generation, age);
        }
        var generation = Math.Max(mark.Generation, noted?.Generation ?? 0);
        new StateNote(mark.Id, mark.Label, generation, clock.BootId, clock.Now).Write(database, group);
        return mark with { Generation = generation, Age = TimeSpan.Zero };
    }

    public AcquireResult Acquire(in AcquireRequest request)
    {
        if (ClosedFor is { Ticks: > 0 } closed)
        {
            return new AcquireResult.Unavailable(ClosedMessage(closed));
        }
        var now = clock.Now;
        var present = Find(request.Key);
        if (present is { } row && IsLive(row, now))
        {
            if (!row.Contended && row.Owner.Replica != request.Owner.Replica)
            {
                database.Contend.With(group, row.Key).ExecuteNonQuery();
            }
            return new AcquireResult.Held(row.Owner.Replica, row.Purpose, HostClock.Between(now, row.EndsAt));
        }
        if (present is { } broken && IsTimely(broken, now))
        {
            _broken.Add((broken.Key, broken.Owner.Replica));
        }
        SweepSometimes(now);
        var number = NextNumber();
        var endsAt = now + HostClock.Nanoseconds(request.Duration);
        database
            .Grant.With(
                group,
                request.Key.Value,
                request.Owner.Replica,
                request.Owner.Acquisition,
                number,
                request.Purpose,
                clock.BootId,
                endsAt
            )
            .ExecuteNonQuery();
        return new AcquireResult.Granted(number);
    }

    public RenewalOutcome[] Renew(IReadOnlyList<RenewalItem> batch)
    {
        var outcomes = new RenewalOutcome[batch.Count];
        for (var i = 0; i < outcomes.Length; i++)
        {
            outcomes[i] = Renew(batch[i], clock.Now);
        }
        return outcomes;
    }

    public ReleaseResult Release(LockKey key, LeaseOwner owner)
    {
        if (Find(key) is not { } row || row.Owner != owner || !IsLive(row, clock.Now))
        {
            return default;
        }
        database.Release.With(group, key.Value).ExecuteNonQuery();
        return new ReleaseResult(Released: true, row.Contended);
    }

    public RevokeResult Revoke(LockKey key, long number)
    {
        var now = clock.Now;
        if (Find(key) is not { } row || !IsLive(row, now))
        {
            return default;
        }
        var named = row.Number == number;
        if (named && !row.Revoked)
        {
            database.Revoke.With(group, key.Value).ExecuteNonQuery();
        }
        return new RevokeResult(named, HostClock.Between(now, row.EndsAt));
    }

    public LeaseRecord? Read(LockKey key)
    {
        var now = clock.Now;
        return Find(key) is { } row && IsLive(row, now) ? row.Show(now) : null;
    }

    public LeasePage List(string prefix, int limit, string? cursor)
    {
        var now = clock.Now;
        List<LeaseRecord> found = [];
        using var reader = database.List.With(group, prefix, cursor ?? string.Empty).ExecuteReader();
        while (found.Count <= limit && reader.Read())
        {
            if (LeaseRow.From(reader) is var row && IsLive(row, now))
            {
                found.Add(row.Show(now));
            }
        }
        return found.Count <= limit ? new LeasePage(found, Next: null) : new LeasePage(found[..limit], found[limit - 1].Key.Value);
    }

    /// <summary>Removes what ended without a release: grants of earlier boots and those that are over or whose replica is gone.</summary>
    /// <returns>The database's id.</returns>
    public string Check()
    {
        if (ClosedFor is { Ticks: > 0 } closed)
        {
            throw new StoreUnavailableException(ClosedMessage(closed), retryAfter: closed);
        }
        database.Sweep.With(clock.BootId, clock.Now).ExecuteNonQuery();
        foreach (var gone in replicas.FindDead(MostDeadRemoved))
        {
            database.DropReplica.With(gone).ExecuteNonQuery();
            _toRemove.Add(gone);
        }
        return database.Id;
    }

    /// <summary>
    /// Removes the lock files of the replicas whose grants <see cref="Check"/> removed. After the commit only: a file is what proves
    /// the death, so no grant may outlast it.
    /// </summary>
    /// <remarks>A file that cannot be removed stays for the next check: what was committed is not to be called failed for it.</remarks>
    public void RemoveDead()
    {
        foreach (var replica in _toRemove)
        {
            try
            {
                replicas.Remove(replica);
            }
            catch (Exception problem) when (problem is IOException or UnauthorizedAccessException)
            {
                return;
            }
        }
    }

    /// <summary>Whether a replica has unexpired grants.</summary>
    public bool HasGrants(string replica) => (long)database.CountOwn.With(replica, clock.BootId, clock.Now).ExecuteScalar()! > 0;

    private RenewalOutcome Renew(in RenewalItem item, long now)
    {
        if (Find(item.Key) is not { } row || row.Owner != item.Owner || row.Number != item.Number || !IsLive(row, now))
        {
            return RenewalOutcome.Lost;
        }
        if (row.Revoked)
        {
            return RenewalOutcome.Revoked;
        }
        database.Renew.With(group, row.Key, now + HostClock.Nanoseconds(item.Duration)).ExecuteNonQuery();
        return RenewalOutcome.Renewed;
    }

    private LeaseRow? Find(LockKey key)
    {
        using var reader = database.Find.With(group, key.Value).ExecuteReader();
        return reader.Read() ? LeaseRow.From(reader) : null;
    }

    private bool IsTimely(in LeaseRow row, long now) => row.Boot == clock.BootId && row.EndsAt > now;

    private bool IsLive(in LeaseRow row, long now) => IsTimely(row, now) && !IsDead(row.Owner.Replica);

    private bool IsDead(string replica)
    {
        if (!_dead.TryGetValue(replica, out var dead))
        {
            _dead.Add(replica, dead = replicas.IsDead(replica));
        }
        return dead;
    }

    private long NextNumber()
    {
        var last = _lastNumber ?? (long)database.ReadNumber.With().ExecuteScalar()!;
        var next = Math.Max(last + 1, clock.WallMicroseconds);
        _lastNumber = next;
        return next;
    }

    /// <summary>Grants that ended without a release would stay for ever where no key comes twice.</summary>
    private void SweepSometimes(long now)
    {
        if (--_grantsUntilSweep > 0)
        {
            return;
        }
        _grantsUntilSweep = SweepEvery;
        database.Sweep.With(clock.BootId, now).ExecuteNonQuery();
    }

    private static string ClosedMessage(TimeSpan closed) =>
        "The file of the SQLite locks is new although locks have been used before, so holders from before may still act; it grants "
        + $"nothing for another {closed.TotalSeconds:0.0} s.";

    private static long ReadOpensAt(LeaseDatabase database, HostClock clock) =>
        database.ReadMeta(OpensAt)?.Split(' ') is [var instant, var boot] && boot == clock.BootId
            ? long.Parse(instant, CultureInfo.InvariantCulture)
            : 0;
}

/// <summary>A row of the table, with the columns of <c>find.sql</c> and <c>list.sql</c>.</summary>
internal readonly record struct LeaseRow(
    string Key,
    LeaseOwner Owner,
    long Number,
    string Purpose,
    string Boot,
    long EndsAt,
    bool Revoked,
    bool Contended
)
{
    public static LeaseRow From(SqliteDataReader reader) =>
        new(
            reader.GetString(0),
            new LeaseOwner(reader.GetString(1), reader.GetInt64(2)),
            reader.GetInt64(3),
            reader.GetString(4),
            reader.GetString(5),
            reader.GetInt64(6),
            reader.GetInt64(7) != 0,
            reader.GetInt64(8) != 0
        );

    public LeaseRecord Show(long now) => new(LockKey.From(Key), Owner.Replica, Purpose, Number, HostClock.Between(now, EndsAt), Revoked);
}
