using System.Data;
using System.Data.Common;
using Npgsql;
using Scheduler.Inbox;

namespace Scheduler.Postgres.State;

/// <summary>The inbox on PostgreSQL, by the server's clock. Thread-safe.</summary>
internal sealed partial class PostgresInbox(StateDatabase database, string group) : IInbox
{
    private readonly InboxQueries _queries = new(database.Place);

    public ValueTask<IReadOnlyList<InboxAnswer>> AddAsync(
        IReadOnlyList<InboxArrival> arrivals,
        Action<int, InboxAnswer>? answered,
        CancellationToken cancellationToken
    )
    {
        InboxRules.Check(arrivals);
        return new PostgresInboxAdd(database, _queries, group, arrivals, answered).RunAsync(cancellationToken);
    }

    public ValueTask<IReadOnlyList<InboxClaim>> ClaimAsync(InboxClaimRequest request, CancellationToken cancellationToken) =>
        InboxRules.ClaimAsync(
            request,
            (limit, width) =>
                database.WriteRowsAsync(
                    batch => _queries.Claim(batch, group, request, limit, width),
                    static async reader =>
                    {
                        var (claims, isMore) = (new List<InboxClaim>(), false);
                        while (await reader.ReadAsync())
                        {
                            if (await reader.IsDBNullAsync(0))
                            {
                                isMore = true;
                                continue;
                            }
                            var body = reader.GetFieldValue<byte[]>(InboxQueries.ColumnCount);
                            claims.Add(new InboxClaim(await InboxQueries.ReadAsync(reader), body));
                        }
                        // The statement updates in any order.
                        claims.Sort(static (one, other) => one.Event.Number.CompareTo(other.Event.Number));
                        return ((IReadOnlyList<InboxClaim>)claims, isMore);
                    },
                    cancellationToken
                )
        );

    public async ValueTask<IReadOnlyList<bool>> FinishAsync(IReadOnlyList<InboxEnd> ends, CancellationToken cancellationToken)
    {
        InboxRules.Check(ends);
        var written = await database.WriteRowsAsync(
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

    public async ValueTask<bool> FinishWithinAsync(DbTransaction transaction, InboxEnd end, CancellationToken cancellationToken)
    {
        InboxRules.Check([end]);
        // What gives an order's turn on has to see what others committed: in a snapshot of the transaction it would pass over it.
        if (
            transaction.Connection is not NpgsqlConnection connection
            || transaction.IsolationLevel is not (IsolationLevel.ReadCommitted or IsolationLevel.Unspecified)
            || !database.Place.IsOf(connection)
        )
        {
            return false;
        }
        await using var batch = new NpgsqlBatch(connection, (NpgsqlTransaction)transaction);
        _queries.FinishOne(batch, group, end);
        await OwnSessions.PrepareAsync(batch, cancellationToken);
        await using var reader = await batch.ExecuteReaderAsync(cancellationToken);
        return await reader.ReadAsync(cancellationToken) ? true : throw new EventTakenUpException(end.Id, end.Attempt);
    }
}
