using System.Globalization;
using Npgsql;
using Scheduler.Locking;
using Scheduler.Postgres.State;

namespace Scheduler.Postgres.Leases;

/// <summary>A grant to end.</summary>
internal readonly record struct EndRequest(LockKey Key, LeaseOwner Owner);

/// <summary>
/// Taking, ending and extending grants: what is taken at the same time shares a statement, and so does what is ended. Thread-safe.
/// </summary>
internal sealed class LeaseCalls
{
    private readonly StateDatabase _database;
    private readonly LeaseStatements _statements;
    private readonly string _group;
    private readonly string _channel;
    private readonly TimeSpan _keepPlace;
    private readonly IdleRows _idle;
    private readonly GroupCommit<AcquireRequest, AcquireResult> _taking;
    private readonly GroupCommit<EndRequest, ReleaseResult> _ending;

    /// <summary>Sends nothing yet.</summary>
    /// <param name="database">The way to the server.</param>
    /// <param name="statements">What is sent.</param>
    /// <param name="group">The group.</param>
    /// <param name="channel">Where freed keys are told.</param>
    /// <param name="keepPlace">How long somebody who waits keeps the place without asking again.</param>
    public LeaseCalls(StateDatabase database, LeaseStatements statements, string group, string channel, TimeSpan keepPlace)
    {
        (_database, _statements, _group, _channel, _keepPlace) = (database, statements, group, channel, keepPlace);
        _idle = new IdleRows(database, statements, group);
        _taking = new(TakeAsync, static (left, right) => left.Key.CompareTo(right.Key), database.Place, database.Log);
        _ending = new(EndAsync, static (left, right) => left.Key.CompareTo(right.Key), database.Place, database.Log);
    }

    /// <summary>Takes a key if it is free.</summary>
    public ValueTask<AcquireResult> TakeAsync(AcquireRequest request) => _taking.CallAsync(request, CancellationToken.None);

    /// <summary>Ends a grant.</summary>
    public ValueTask<ReleaseResult> EndAsync(LockKey key, LeaseOwner owner) =>
        _ending.CallAsync(new EndRequest(key, owner), CancellationToken.None);

    /// <summary>Extends grants.</summary>
    public ValueTask<RenewalReply> RenewAsync(IReadOnlyList<RenewalItem> items, CancellationToken cancellationToken) =>
        _database.CallAsync(sent => Renew(sent, items), reader => RenewedAsync(reader, items.Count), cancellationToken);

    private async ValueTask<AcquireResult[]> TakeAsync(IReadOnlyList<AcquireRequest> requests, CancellationToken cancellationToken)
    {
        // A statement takes a key once. Of several who ask together only one can get it; the others are told of that one, or what it is
        // told.
        var first = new Dictionary<LockKey, int>(requests.Count);
        var asked = new List<AcquireRequest>(requests.Count);
        foreach (var request in requests)
        {
            if (first.TryAdd(request.Key, asked.Count))
            {
                asked.Add(request);
            }
            else if (request.Waits)
            {
                asked[first[request.Key]] = asked[first[request.Key]] with { Waits = true, OthersWait = true };
            }
        }
        var answers = await _database.CallAsync(batch => AskFor(batch, asked), reader => ReadAsync(reader, asked), cancellationToken);
        _idle.Count(answers.Count(a => a is AcquireResult.Granted));
        if (asked.Count == requests.Count)
        {
            return answers;
        }
        var all = new AcquireResult[requests.Count];
        for (var i = 0; i < all.Length; i++)
        {
            var at = first[requests[i].Key];
            all[i] =
                answers[at] is AcquireResult.Granted && asked[at].Owner != requests[i].Owner
                    ? new AcquireResult.Held(asked[at].Owner.Replica, asked[at].Purpose, asked[at].Duration)
                    : answers[at];
        }
        return all;
    }

    private void AskFor(NpgsqlBatch batch, List<AcquireRequest> requests)
    {
        var count = requests.Count;
        var (keys, replicas, purposes) = (new string[count], new string[count], new string?[count]);
        var (acquisitions, durations) = (new long[count], new long[count]);
        var (waits, othersWait) = (new bool[count], new bool[count]);
        for (var i = 0; i < count; i++)
        {
            var request = requests[i];
            (keys[i], replicas[i], acquisitions[i]) = (request.Key.Value, request.Owner.Replica, request.Owner.Acquisition);
            (purposes[i], durations[i]) = (Texts.Keepable(request.Purpose), Micros.Of(request.Duration));
            (waits[i], othersWait[i]) = (request.Waits, request.OthersWait);
        }
        batch
            .Add(_statements.Acquire)
            .Text(_group)
            .Texts(keys)
            .Texts(replicas)
            .Numbers(acquisitions)
            .Texts(purposes)
            .Numbers(durations)
            .Flags(waits)
            .Number(Micros.Of(_keepPlace))
            .Flags(othersWait);
    }

    private static async Task<AcquireResult[]> ReadAsync(NpgsqlDataReader reader, List<AcquireRequest> requests)
    {
        var answers = new AcquireResult[requests.Count];
        while (await reader.ReadAsync())
        {
            var at = (int)reader.GetInt64(0) - 1;
            answers[at] = Read(reader, requests[at]);
        }
        return answers;
    }

    private static AcquireResult Read(NpgsqlDataReader row, in AcquireRequest request)
    {
        var (now, replica, until) = (row.GetInt64(1), row.GetString(2), row.GetInt64(6));
        if (until > now && replica == request.Owner.Replica && row.GetInt64(3) == request.Owner.Acquisition)
        {
            return new AcquireResult.Granted(row.GetInt64(5), Micros.ToTime(now));
        }
        if (row.IsDBNull(7))
        {
            return new AcquireResult.Held(replica, row.GetString(4), Micros.Left(until - now));
        }
        var place = row.GetString(7);
        var blank = place.IndexOf(' ', StringComparison.Ordinal);
        var kept = long.Parse(place.AsSpan(0, blank), CultureInfo.InvariantCulture);
        return new AcquireResult.Held(place[(blank + 1)..], "", Micros.Left(kept - now));
    }

    private void Renew(NpgsqlBatch sent, IReadOnlyList<RenewalItem> items) =>
        sent.Add(_statements.Renew)
            .Text(_group)
            .Texts([.. items.Select(i => i.Key.Value)])
            .Texts([.. items.Select(i => i.Owner.Replica)])
            .Numbers([.. items.Select(i => i.Owner.Acquisition)])
            .Numbers([.. items.Select(i => i.Number)])
            .Numbers([.. items.Select(i => Micros.Of(i.Duration))]);

    private static async Task<RenewalReply> RenewedAsync(NpgsqlDataReader reader, int count)
    {
        var outcomes = new RenewalOutcome[count];
        Array.Fill(outcomes, RenewalOutcome.Lost);
        DateTimeOffset? now = null;
        while (await reader.ReadAsync())
        {
            if (reader.GetInt64(0) is var at and > 0)
            {
                // One that was there and was not extended has changed in between; the next renewal tells how.
                outcomes[at - 1] =
                    reader.GetBoolean(1) ? RenewalOutcome.Revoked
                    : reader.GetBoolean(2) ? RenewalOutcome.Renewed
                    : RenewalOutcome.Unknown;
            }
            else
            {
                now = Micros.ToTime(reader.GetInt64(3));
            }
        }
        return new RenewalReply(outcomes, now);
    }

    private async ValueTask<ReleaseResult[]> EndAsync(IReadOnlyList<EndRequest> requests, CancellationToken cancellationToken) =>
        await _database.CallAsync(
            batch =>
                batch
                    .Add(_statements.Release)
                    .Text(_group)
                    .Texts([.. requests.Select(r => r.Key.Value)])
                    .Texts([.. requests.Select(r => r.Owner.Replica)])
                    .Numbers([.. requests.Select(r => r.Owner.Acquisition)])
                    .Text(_channel),
            async reader =>
            {
                var answers = new ReleaseResult[requests.Count];
                while (await reader.ReadAsync())
                {
                    answers[reader.GetInt64(0) - 1] = new ReleaseResult(reader.GetBoolean(1), Contended: reader.GetBoolean(2));
                }
                return answers;
            },
            cancellationToken
        );
}

/// <summary>Times as the tables keep them.</summary>
internal static class Micros
{
    public static long Of(TimeSpan duration) => duration.Ticks / TimeSpan.TicksPerMicrosecond;

    public static DateTimeOffset ToTime(long micros) => DateTimeOffset.UnixEpoch.AddTicks(micros * TimeSpan.TicksPerMicrosecond);

    /// <summary>What is left, not below zero.</summary>
    public static TimeSpan Left(long micros) => TimeSpan.FromTicks(Math.Max(0, micros) * TimeSpan.TicksPerMicrosecond);
}
