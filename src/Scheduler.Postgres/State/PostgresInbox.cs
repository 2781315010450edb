using Scheduler.Inbox;
using Scheduler.Runs;

namespace Scheduler.Postgres.State;

/// <summary>The inbox on PostgreSQL, by the server's clock. Thread-safe.</summary>
internal sealed partial class PostgresInbox(StateDatabase database, string group) : IInbox
{
    private readonly InboxQueries _queries = new(database.Place);

    public async ValueTask<IReadOnlyList<InboxAnswer>> AddAsync(IReadOnlyList<InboxArrival> arrivals, CancellationToken cancellationToken)
    {
        InboxRules.Check(arrivals);
        Guid[] ids = [.. arrivals.Select(a => LedgerRules.NewId(a.ReceivedAt))];
        var stored = await database.CallDurablyAsync(
            batch => _queries.Add(batch, group, ids, arrivals),
            static async reader => await reader.ReadAsync() ? reader.GetFieldValue<Guid[]>(0) : [],
            cancellationToken
        );
        var answers = new InboxAnswer[ids.Length];
        var known = stored.ToHashSet();
        var others = new List<int>();
        for (var i = 0; i < ids.Length; i++)
        {
            if (known.Contains(ids[i]))
            {
                answers[i] = new InboxAnswer(InboxOutcome.Stored, ids[i].ToString(), arrivals[i].State);
            }
            else
            {
                others.Add(i);
            }
        }
        if (others.Count > 0)
        {
            await ExplainAsync(arrivals, ids, others, answers, cancellationToken);
        }
        return answers;
    }

    public async ValueTask<IReadOnlyList<InboxClaim>> ClaimAsync(InboxClaimRequest request, CancellationToken cancellationToken)
    {
        InboxRules.Check(request);
        return await database.CallDurablyAsync(
            batch => _queries.Claim(batch, group, request),
            static async reader =>
            {
                var claims = new List<InboxClaim>();
                while (await reader.ReadAsync())
                {
                    claims.Add(
                        new InboxClaim(await InboxQueries.ReadAsync(reader), reader.GetFieldValue<byte[]>(InboxQueries.ColumnCount))
                    );
                }
                // The statement updates in any order.
                claims.Sort(static (one, other) => one.Event.Number.CompareTo(other.Event.Number));
                return claims;
            },
            cancellationToken
        );
    }

    public async ValueTask<IReadOnlyList<bool>> FinishAsync(IReadOnlyList<InboxEnd> ends, CancellationToken cancellationToken)
    {
        InboxRules.Check(ends);
        var written = await database.CallDurablyAsync(
            batch => _queries.Finish(batch, group, ends),
            static async reader =>
            {
                var ids = new HashSet<Guid>();
                while (await reader.ReadAsync())
                {
                    ids.Add(reader.GetGuid(0));
                }
                return ids;
            },
            cancellationToken
        );
        return [.. ends.Select(end => Guid.TryParse(end.Id, out var id) && written.Contains(id))];
    }

    /// <summary>What those are that met a row: by what is committed now, which is read only after the insert waited for it.</summary>
    private async ValueTask ExplainAsync(
        IReadOnlyList<InboxArrival> arrivals,
        Guid[] ids,
        List<int> others,
        InboxAnswer[] answers,
        CancellationToken cancellationToken
    )
    {
        var hits = await database.CallAsync(
            batch => _queries.Hits(batch, group, [.. others.Select(i => arrivals[i])]),
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
        for (var i = 0; i < others.Count; i++)
        {
            var (arrival, id, met) = (arrivals[others[i]], ids[others[i]], hits[i].ToList());
            answers[others[i]] = await AnswerAsync(arrival, id, met, cancellationToken);
        }
    }

    private async ValueTask<InboxAnswer> AnswerAsync(
        InboxArrival arrival,
        Guid id,
        List<InboxHit> hits,
        CancellationToken cancellationToken
    )
    {
        if (hits.Count == 0)
        {
            // What it met was pruned or resolved in between.
            throw new StateUnavailableException(
                $"An event of source '{arrival.Source}' met a row in {database.Place.Name} that is gone; it is to be sent again."
            );
        }
        var first = hits[0];
        if (first.Id == id.ToString())
        {
            // The answer to the first try of the insert was lost.
            return new InboxAnswer(InboxOutcome.Stored, first.Id, first.State);
        }
        if (InboxRules.IsDuplicate(arrival, hits))
        {
            return new InboxAnswer(InboxOutcome.Duplicate, first.Id, first.State);
        }
        var known = await database.CallDurablyAsync(
            batch => _queries.AddConflict(batch, group, Guid.Parse(first.Id), id, arrival),
            static async reader => await reader.ReadAsync() && !await reader.IsDBNullAsync(0) ? reader.GetGuid(0) : (Guid?)null,
            cancellationToken
        );
        return known is { } same && same != id
            ? new InboxAnswer(InboxOutcome.Duplicate, same.ToString(), InboxState.Conflict)
            : new InboxAnswer(InboxOutcome.Conflict, first.Id, first.State);
    }
}
