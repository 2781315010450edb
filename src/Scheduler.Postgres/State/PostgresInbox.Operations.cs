using Npgsql;
using Scheduler.Inbox;
using Scheduler.Runs;

namespace Scheduler.Postgres.State;

// What people and upkeep do.
internal sealed partial class PostgresInbox
{
    private readonly InboxOperationsQueries _operations = new(database.Place);
    private readonly InboxCountQueries _counts = new(database.Place);

    public async ValueTask<InboxEvent?> FindAsync(string id, CancellationToken cancellationToken) =>
        Guid.TryParse(id, out var key)
            ? await database.CallAsync(
                batch => _operations.Find(batch, group, key),
                static async reader => await reader.ReadAsync() ? await InboxOperationsQueries.ReadAsync(reader) : null,
                cancellationToken
            )
            : null;

    public async ValueTask<InboxPage> ListAsync(InboxQuery query, CancellationToken cancellationToken)
    {
        var listing = new InboxListing(query);
        // First where the page ends, which then is what it compared, whatever comes or goes meanwhile.
        var last = listing.Compares
            ? await database.CallAsync(
                batch => _operations.Last(batch, group, listing),
                static async reader => await reader.ReadAsync() ? reader.GetInt64(0) : (long?)null,
                cancellationToken
            )
            : null;
        return await database.CallAsync(
            batch => _operations.List(batch, group, listing, last ?? 0),
            async reader =>
            {
                var events = new List<InboxEvent>();
                while (await reader.ReadAsync())
                {
                    events.Add(await InboxOperationsQueries.ReadAsync(reader));
                }
                return listing.Page(events, last);
            },
            cancellationToken
        );
    }

    public ValueTask<int> ReplayAsync(IReadOnlyList<string> ids, bool force, CancellationToken cancellationToken)
    {
        var keys = KeysOf(ids);
        return ChangeAsync(batch => _operations.Replay(batch, group, keys, force), cancellationToken);
    }

    public ValueTask<int> IgnoreAsync(IReadOnlyList<string> ids, CancellationToken cancellationToken)
    {
        var keys = KeysOf(ids);
        return ChangeAsync(batch => _operations.Ignore(batch, group, keys), cancellationToken);
    }

    public async ValueTask<IReadOnlyList<InboxCounts>> CountAsync(IReadOnlyList<string> sources, CancellationToken cancellationToken)
    {
        LedgerRules.CheckBatch(sources, IInbox.MaxBatch);
        string[] names = [.. sources];
        var due = await database.CallAsync(batch => _counts.Due(batch, group, names), InboxCountQueries.ReadDueAsync, cancellationToken);
        return await database.CallAsync(
            batch => _counts.Waiting(batch, group, names),
            reader => InboxCountQueries.ReadAsync(reader, names, due),
            cancellationToken
        );
    }

    public async ValueTask<InboxChange> ResolveAsync(string id, bool accept, CancellationToken cancellationToken)
    {
        var changed =
            Guid.TryParse(id, out var key)
            && await database.WriteRowsAsync(
                batch => _operations.Resolve(batch, group, key, accept),
                static async reader => await reader.ReadAsync(),
                cancellationToken
            );
        return new InboxChange(await FindAsync(id, cancellationToken), changed);
    }

    public async ValueTask<InboxBody?> ReadAsync(string id, CancellationToken cancellationToken) =>
        Guid.TryParse(id, out var key)
            ? await database.CallAsync(
                batch => _operations.Read(batch, group, key),
                static async reader => await reader.ReadAsync() ? await InboxOperationsQueries.ReadBodyAsync(reader) : null,
                cancellationToken
            )
            : null;

    public async ValueTask<InboxReceived> ReceiveAsync(string id, InboxArrival arrival, CancellationToken cancellationToken)
    {
        InboxRules.CheckReceived(arrival);
        return Guid.TryParse(id, out var key)
            ? await database.WriteRowsAsync(
                batch => _operations.Receive(batch, group, key, arrival),
                static async reader =>
                {
                    await reader.ReadAsync();
                    return new InboxReceived(reader.GetBoolean(0), await reader.IsDBNullAsync(1) ? null : reader.GetGuid(1).ToString());
                },
                cancellationToken
            )
            : default;
    }

    private static Guid[] KeysOf(IReadOnlyList<string> ids)
    {
        LedgerRules.CheckBatch(ids, IInbox.MaxBatch);
        return [.. ids.Select(id => Guid.TryParse(id, out var key) ? key : Guid.Empty)];
    }

    private ValueTask<int> ChangeAsync(Action<NpgsqlBatch> fill, CancellationToken cancellationToken) =>
        database.WriteRowsAsync(
            fill,
            static async reader =>
            {
                var changed = 0;
                while (await reader.ReadAsync())
                {
                    changed++;
                }
                return changed;
            },
            cancellationToken
        );
}
