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
        Arrived[] open = [.. arrivals.Select((a, i) => new Arrived(i, LedgerRules.NewId(a.ReceivedAt), a))];
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
            batch => queries.Add(batch, group, [.. open.Select(a => a.Id)], [.. open.Select(a => a.Arrival)]),
            static async reader => await reader.ReadAsync() ? reader.GetFieldValue<Guid[]>(0) : [],
            cancellationToken
        );
        var known = stored.ToHashSet();
        var met = new List<Arrived>();
        foreach (var one in open)
        {
            if (known.Contains(one.Id))
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
                gone.Add(one);
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

    private void Answer(Arrived one, InboxOutcome outcome, Guid id, InboxState state)
    {
        var answer = new InboxAnswer(outcome, id.ToString(), state);
        _answers[one.Index] = answer;
        answered?.Invoke(one.Index, answer);
    }

    private readonly record struct Arrived(int Index, Guid Id, InboxArrival Arrival);

    private readonly record struct Contradiction(Arrived One, Guid First, InboxState State);
}
