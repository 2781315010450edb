using Scheduler.Locking;
using Scheduler.Postgres.Leases;
using Scheduler.Postgres.State;
using Scheduler.Postgres.Telemetry;
using Scheduler.Runs;

namespace Scheduler.Postgres.SessionLeases;

// Who has a lock, as its note tells.
public sealed partial class PostgresSessionLeaseStore
{
    /// <inheritdoc/>
    /// <remarks>A holder that does not confirm before its time is over is ended by whoever asks for the key next, with all that its replica
    /// holds: <see cref="RevokeResult.MayEndOthers"/>.</remarks>
    public async ValueTask<RevokeResult> RevokeAsync(LockKey key, long number, CancellationToken cancellationToken)
    {
        if (await ReadNoteAsync(key, cancellationToken) is null)
        {
            return default;
        }
        return await _database.CallStoreAsync(
            batch => batch.Add(_statements.Revoke).Number(_wordOf(key)).Text(_context.Group).Text(key.Value).Number(number),
            static async reader =>
                await reader.ReadAsync() && reader.GetBoolean(0) is var named
                    ? new RevokeResult(named, Micros.Left(reader.GetInt64(1)), MayEndOthers: named)
                    : default,
            cancellationToken
        );
    }

    /// <inheritdoc/>
    public async ValueTask<LeaseRecord?> ReadAsync(LockKey key, CancellationToken cancellationToken)
    {
        if (await ReadNoteAsync(key, cancellationToken) is not { } note)
        {
            return null;
        }
        if (note.Replica != _context.Replica)
        {
            // Who reads may wait for it.
            _watch.See(_wordOf(key), key, note);
        }
        return new LeaseRecord(key, note.Replica, note.Purpose, note.Number, note.Remaining, note.IsRevoked);
    }

    /// <inheritdoc/>
    public async ValueTask<LeasePage> ListAsync(string prefix, int limit, string? cursor, CancellationToken cancellationToken)
    {
        ArgumentNullException.ThrowIfNull(prefix);
        ArgumentOutOfRangeException.ThrowIfLessThan(limit, 1);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(limit, LargestPage);
        var began = TimeProvider.System.GetTimestamp();
        while (
            await _database.CallStoreAsync(
                batch => batch.Add(_statements.AnyWithoutNote).Number(_context.Words.Tag),
                static async reader => await reader.ReadAsync() && reader.GetBoolean(0),
                cancellationToken
            )
            && TimeProvider.System.GetElapsedTime(began) < LongestLook
        )
        {
            await Task.Delay(ShortestPause, TimeProvider.System, cancellationToken);
        }
        var found = await _database.CallStoreAsync(
            batch =>
                batch
                    .Add(_statements.List)
                    .Text(_context.Group)
                    .Text(Texts.Keepable(prefix))
                    .Text(Texts.Keepable(cursor) ?? "")
                    .Number(limit + 1),
            static async reader =>
            {
                var records = new List<LeaseRecord>();
                while (await reader.ReadAsync())
                {
                    var key = LockKey.From(reader.GetString(0));
                    var remaining = Micros.Left(reader.GetInt64(4));
                    records.Add(new(key, reader.GetString(1), reader.GetString(2), reader.GetInt64(3), remaining, reader.GetBoolean(5)));
                }
                return records;
            },
            cancellationToken
        );
        return found.Count <= limit ? new LeasePage(found, Next: null) : new LeasePage(found[..limit], found[limit - 1].Key.Value);
    }

    private async ValueTask<AcquireResult?> AnswerAsync(long word, AcquireRequest request, Grant grant)
    {
        if (grant.Owner == request.Owner && grant.Number > 0)
        {
            _watch.Forget(word);
            return new AcquireResult.Granted(grant.Number);
        }
        if (grant.Number > 0)
        {
            var left = TimeSpan.FromMicroseconds(Math.Max(0, OwnGrants.MicrosLeft(grant)));
            return grant.Key == request.Key
                ? new AcquireResult.Held(grant.Owner.Replica, grant.Purpose, left)
                : SameNumber(request.Key, word, grant.Key.Value, _context.Group, grant.Owner.Replica, left);
        }
        if (grant.RefusedBy is not { } note)
        {
            if (_watch.SeeWithoutNote(word, request.Key, _backend.Leases.LongestLease))
            {
                await TryEndHolderAsync(word, isOurs: false, "a session without a note", request.Key.Value, isRevoked: false);
            }
            return null;
        }
        if (
            _watch.See(word, request.Key, note)
            && await TryEndHolderAsync(note.Session, isOurs: true, note.Replica, note.Key, note.IsRevoked)
        )
        {
            return null;
        }
        var remaining = note.Remaining > TimeSpan.Zero ? note.Remaining : TimeSpan.Zero;
        return note.Group == _context.Group && note.Key == request.Key.Value
            ? new AcquireResult.Held(note.Replica, note.Purpose, remaining)
            : SameNumber(request.Key, word, note.Key, note.Group, note.Replica, remaining);
    }

    private AcquireResult.Held SameNumber(LockKey key, long word, string otherKey, string otherGroup, string replica, TimeSpan left)
    {
        Log.SameNumber(_context.Log, key.Value, otherKey, otherGroup, word);
        return new AcquireResult.Held(replica, $"'{otherKey}' of group '{otherGroup}', whose lock has the same number", left);
    }

    private async Task<bool> TryEndHolderAsync(long word, bool isOurs, string replica, string key, bool isRevoked)
    {
        try
        {
            var ended = await _database.CallAsync(
                batch => batch.Add(_statements.Terminate).Number(word).Flag(isOurs),
                static async reader => await reader.ReadAsync() && reader.GetInt64(0) > 0,
                CancellationToken.None
            );
            if (ended)
            {
                Log.HolderEnded(_context.Log, replica, key, isRevoked);
            }
            return true;
        }
        catch (StateUnavailableException problem)
        {
            Log.HolderNotEnded(_context.Log, replica, key, problem.Message);
            return false;
        }
    }

    /// <summary>The note of a key; waits a little for one that is not there yet.</summary>
    private async ValueTask<HolderNote?> ReadNoteAsync(LockKey key, CancellationToken cancellationToken)
    {
        StoreCalls.CheckKey(key);
        var word = _wordOf(key);
        var began = TimeProvider.System.GetTimestamp();
        while (true)
        {
            var (isLocked, note) = await _database.CallStoreAsync(
                batch => batch.Add(_statements.Read).Number(word),
                static async reader =>
                    await reader.ReadAsync()
                        ? (reader.GetBoolean(0), reader.GetBoolean(1) ? LockSession.ReadNote(reader, 2) : null)
                        : default,
                cancellationToken
            );
            if (!isLocked)
            {
                return null;
            }
            if (note is not null || TimeProvider.System.GetElapsedTime(began) > LongestLook)
            {
                var isOfKey = note is not null && note.Group == _context.Group && note.Key == key.Value;
                return isOfKey && note!.Remaining > TimeSpan.Zero ? note : null;
            }
            await Task.Delay(ShortestPause, TimeProvider.System, cancellationToken);
        }
    }
}
