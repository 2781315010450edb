using Npgsql;
using Scheduler.Inbox;
using Scheduler.Runs;

namespace Scheduler.Postgres.State;

/// <summary>
/// Stores one group of arrivals: inserts all, then looks at what those are that met a row, by what is committed, then keeps those that
/// contradict one. For one call.
/// </summary>
internal sealed class PostgresInboxAdd(
    StateDatabase database,
    InboxQueries queries,
    string group,
    IReadOnlyList<InboxArrival> arrivals,
    Action<int, InboxAnswer>? answered
)
{
    private readonly InboxAnswer[] _answers = new InboxAnswer[arrivals.Count];

    public async ValueTask<IReadOnlyList<InboxAnswer>> RunAsync(CancellationToken cancellationToken)
    {
        var takings = InboxRules.TakingsOf(arrivals);
        Arrived[] open = [.. arrivals.Select((a, i) => new Arrived(i, LedgerRules.NewId(a.ReceivedAt), a, takings[i]))];
        var contradictions = new List<Contradiction>();
        for (var attempt = 1; open.Length > 0; attempt++)
        {
            if (attempt > RowWrites.Tries)
            {
                throw new StateUnavailableException(
                    $"{open.Length} events met rows in {database.Place.Name} that were gone a moment later; they are to be sent again.",
                    ofOneCall: true
                );
            }
            open = await ExplainAsync(await StoreAsync(open, cancellationToken), contradictions, cancellationToken);
        }
        if (contradictions.Count > 0)
        {
            await KeepAsync(contradictions, cancellationToken);
        }
        return _answers;
    }

    /// <summary>Inserts what no row has the keys of.</summary>
    /// <returns>Those that met a row.</returns>
    private async ValueTask<Arrived[]> StoreAsync(Arrived[] open, CancellationToken cancellationToken)
    {
        var stored = await database.WriteRowsAsync(
            batch =>
                queries.Add(batch, group, [.. open.Select(a => a.Id)], [.. open.Select(a => a.Arrival)], [.. open.Select(a => a.Taking)]),
            static async reader => await reader.ReadAsync() ? Read(reader) : new Rows([], []),
            cancellationToken
        );
        var met = new List<Arrived>();
        foreach (var one in open)
        {
            if (stored.Taken.TryGetValue(one.Id, out var taken))
            {
                Answer(one, InboxOutcome.Stored, one.Id, InboxState.Processing, taken);
            }
            else if (stored.Ids.Contains(one.Id))
            {
                Answer(one, InboxOutcome.Stored, one.Id, one.Arrival.State);
            }
            else
            {
                met.Add(one);
            }
        }
        return [.. met];
    }

    /// <summary>Answers duplicates, and collects what contradicts a row.</summary>
    /// <returns>Those that met a row that is gone by now: pruned, or settled.</returns>
    private async ValueTask<Arrived[]> ExplainAsync(Arrived[] met, List<Contradiction> contradictions, CancellationToken cancellationToken)
    {
        if (met.Length == 0)
        {
            return [];
        }
        var hits = await HitsAsync([.. met.Select(a => a.Arrival)], cancellationToken);
        var gone = new List<Arrived>();
        for (var i = 0; i < met.Length; i++)
        {
            var (one, rows) = (met[i], hits[i].ToList());
            if (rows.Count == 0)
            {
                // Behind what of its order is stored by now.
                gone.Add(one with { Taking = null });
            }
            else if (rows[0].Id == one.Id.ToString())
            {
                // The answer to the first try of the insert was lost.
                Answer(one, InboxOutcome.Stored, one.Id, rows[0].State);
            }
            else if (InboxRules.IsDuplicate(one.Arrival, rows))
            {
                Answer(one, InboxOutcome.Duplicate, Guid.Parse(rows[0].Id), rows[0].State);
            }
            else
            {
                contradictions.Add(new Contradiction(one, Guid.Parse(rows[0].Id), rows[0].State));
            }
        }
        return [.. gone];
    }

    private async ValueTask KeepAsync(List<Contradiction> contradictions, CancellationToken cancellationToken)
    {
        var known = await database.WriteRowsAsync(
            batch =>
                queries.AddConflicts(
                    batch,
                    group,
                    [.. contradictions.Select(c => c.First)],
                    [.. contradictions.Select(c => c.One.Id)],
                    [.. contradictions.Select(c => c.One.Arrival)]
                ),
            static async reader =>
            {
                var rows = new Dictionary<int, Guid>();
                while (await reader.ReadAsync())
                {
                    rows.Add((int)reader.GetInt64(0) - 1, reader.GetGuid(1));
                }
                return rows;
            },
            cancellationToken
        );
        for (var i = 0; i < contradictions.Count; i++)
        {
            var (one, first, state) = contradictions[i];
            if (known.TryGetValue(i, out var same) && same != one.Id)
            {
                Answer(one, InboxOutcome.Duplicate, same, InboxState.Conflict);
            }
            else
            {
                Answer(one, InboxOutcome.Conflict, first, state);
            }
        }
    }

    private ValueTask<ILookup<int, InboxHit>> HitsAsync(IReadOnlyList<InboxArrival> met, CancellationToken cancellationToken) =>
        database.CallAsync(
            batch => queries.Hits(batch, group, met),
            static async reader =>
            {
                var found = new List<(int Index, InboxHit Hit)>();
                while (await reader.ReadAsync())
                {
                    var state = InboxRules.StateOf(reader.GetString(2));
                    var hit = new InboxHit(
                        reader.GetGuid(1).ToString(),
                        state,
                        reader.GetFieldValue<byte[]>(3),
                        reader.GetFieldValue<byte[]>(4)
                    );
                    found.Add(((int)reader.GetInt64(0) - 1, hit));
                }
                return found.ToLookup(f => f.Index, f => f.Hit);
            },
            cancellationToken
        );

    private static Rows Read(NpgsqlDataReader reader)
    {
        HashSet<Guid> stored = [.. reader.GetFieldValue<Guid[]>(0)];
        if (reader.IsDBNull(1))
        {
            return new Rows(stored, []);
        }
        var (ids, numbers, until) = (reader.GetFieldValue<Guid[]>(1), reader.GetFieldValue<long[]>(2), reader.GetFieldValue<DateTime[]>(3));
        var taken = new Dictionary<Guid, (long, DateTimeOffset)>(ids.Length);
        for (var i = 0; i < ids.Length; i++)
        {
            taken.Add(ids[i], (numbers[i], Times.From(until[i])));
        }
        return new Rows(stored, taken);
    }

    private void Answer(Arrived one, InboxOutcome outcome, Guid id, InboxState state, (long Number, DateTimeOffset Until)? taken = null)
    {
        var name = id.ToString();
        var now = taken is { } of ? InboxRules.TakenOf(one.Arrival, one.Taking!, name, of.Number, of.Until) : null;
        var answer = new InboxAnswer(outcome, name, state, now);
        _answers[one.Index] = answer;
        answered?.Invoke(one.Index, answer);
    }

    /// <summary>What a group's insert stored, and what of it is taken.</summary>
    private sealed record Rows(HashSet<Guid> Ids, Dictionary<Guid, (long Number, DateTimeOffset Until)> Taken);

    private readonly record struct Arrived(int Index, Guid Id, InboxArrival Arrival, InboxTaking? Taking);

    private readonly record struct Contradiction(Arrived One, Guid First, InboxState State);
}
