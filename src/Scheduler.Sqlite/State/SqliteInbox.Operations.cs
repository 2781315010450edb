using Dapper;
using Microsoft.Data.Sqlite;
using Scheduler.Inbox;
using Scheduler.Runs;

namespace Scheduler.Sqlite.State;

// What people and upkeep do.
internal sealed partial class SqliteInbox
{
    private const string Shown = $"""
        {InboxRow.Columns}, body IS NOT NULL AS HasBody,
        (SELECT l.sender_id FROM inbox_labels l WHERE l.group_name = inbox.group_name AND l.id = inbox.id) AS SenderId,
        (SELECT l.sender_type FROM inbox_labels l WHERE l.group_name = inbox.group_name AND l.id = inbox.id) AS SenderType
        """;

    // Each key by its own index.
    private const string Other = """
        SELECT id FROM inbox WHERE group_name = @group AND source = @source AND dedupe_key = @dedupeKey AND keyed = 1 AND id <> @id
        UNION ALL SELECT id FROM inbox
        WHERE group_name = @group AND source = @source AND event_id = @eventId AND keyed = 1 AND id <> @id
        UNION ALL SELECT id FROM inbox
        WHERE group_name = @group AND source = @source AND body_hash = @bodyHash AND body_keyed = 1 AND @bodyKeyed = 1 AND id <> @id
        LIMIT 1
        """;

    private const string IsAside = "group_name = @group AND id = @id AND state IN ('quarantined', 'ignored') AND body IS NOT NULL";

    private const string Receive = $"""
        UPDATE inbox SET state = 'received', keyed = 1, body_keyed = @bodyKeyed, event_id = @eventId, event_type = @type,
          dedupe_key = @dedupeKey, order_key = @orderKey, content_hash = @contentHash, due_at = @now, counted = 0, finished_at = NULL,
          error = NULL, conflicts_with = NULL
        WHERE {IsAside}
        """;

    private const string Replay = """
        UPDATE inbox SET state = 'received', due_at = @now, counted = 0, finished_at = NULL
        WHERE group_name = @group AND id IN @ids AND body IS NOT NULL AND (state IN ('failed', 'dead') OR (@force AND state = 'done'))
        """;

    private const string Ignore = """
        UPDATE inbox SET state = 'ignored', due_at = NULL, finished_at = @now
        WHERE group_name = @group AND id IN @ids AND state IN ('received', 'failed', 'dead', 'quarantined')
        """;

    // As an event of its own it has effects of its own.
    private const string Accept = """
        UPDATE inbox SET state = 'received', due_at = @now, dedupe_key = dedupe_key || '~' || id
        WHERE group_name = @group AND id = @id AND state = 'conflict'
        """;

    private const string KeepFirst = """
        UPDATE inbox SET state = 'ignored', finished_at = @now WHERE group_name = @group AND id = @id AND state = 'conflict'
        """;

    public ValueTask<InboxEvent?> FindAsync(string id, CancellationToken cancellationToken) =>
        database.ReadAsync(connection => Find(connection, id), cancellationToken);

    public ValueTask<InboxPage> ListAsync(InboxQuery query, CancellationToken cancellationToken)
    {
        var listing = new InboxListing(query);
        return database.ReadAsync(connection => List(connection, listing), cancellationToken);
    }

    public ValueTask<int> ReplayAsync(IReadOnlyList<string> ids, bool force, CancellationToken cancellationToken)
    {
        LedgerRules.CheckBatch(ids, IInbox.MaxBatch);
        var now = Times.Of(time.GetUtcNow());
        return database.WriteAsync(
            connection =>
                connection.Execute(
                    Replay,
                    new
                    {
                        group,
                        ids,
                        force,
                        now,
                    }
                ),
            cancellationToken
        );
    }

    public ValueTask<int> IgnoreAsync(IReadOnlyList<string> ids, CancellationToken cancellationToken)
    {
        LedgerRules.CheckBatch(ids, IInbox.MaxBatch);
        var now = Times.Of(time.GetUtcNow());
        return database.WriteAsync(
            connection =>
                connection.Execute(
                    Ignore,
                    new
                    {
                        group,
                        ids,
                        now,
                    }
                ),
            cancellationToken
        );
    }

    public ValueTask<IReadOnlyList<InboxCounts>> CountAsync(IReadOnlyList<string> sources, CancellationToken cancellationToken)
    {
        LedgerRules.CheckBatch(sources, IInbox.MaxBatch);
        var now = time.GetUtcNow();
        return database.ReadAsync<IReadOnlyList<InboxCounts>>(
            connection => [.. sources.Select(source => SqliteInboxCounts.Of(connection, group, source, now))],
            cancellationToken
        );
    }

    public ValueTask<InboxChange> ResolveAsync(string id, bool accept, CancellationToken cancellationToken)
    {
        var now = Times.Of(time.GetUtcNow());
        return database.WriteAsync(
            connection =>
            {
                var values = new
                {
                    group,
                    id,
                    now,
                };
                var changed = connection.Execute(accept ? Accept : KeepFirst, values);
                return new InboxChange(Find(connection, id), changed > 0);
            },
            cancellationToken
        );
    }

    public ValueTask<InboxBody?> ReadAsync(string id, CancellationToken cancellationToken) =>
        database.ReadAsync(
            connection =>
                connection.QuerySingleOrDefault<ShownRow?>(
                    $"SELECT {Shown}, body AS Body FROM inbox WHERE group_name = @group AND id = @id",
                    new { group, id }
                )
                    is { } row
                    ? new InboxBody(row.ToShown(), row.Body)
                    : null,
            cancellationToken
        );

    public ValueTask<InboxReceived> ReceiveAsync(string id, InboxArrival arrival, CancellationToken cancellationToken)
    {
        InboxRules.CheckReceived(arrival);
        var values = new
        {
            group,
            id,
            source = arrival.Source,
            bodyKeyed = InboxRules.IsBodyKey(arrival) ? 1 : 0,
            eventId = arrival.EventId,
            type = arrival.Type,
            dedupeKey = arrival.DedupeKey,
            orderKey = arrival.OrderKey,
            bodyHash = arrival.BodyHash,
            contentHash = arrival.ContentHash,
            now = Times.Of(time.GetUtcNow()),
        };
        return database.WriteAsync(
            connection =>
                connection.QuerySingle<long>($"SELECT count(*) FROM inbox WHERE {IsAside}", values) == 0 ? default
                : connection.QuerySingleOrDefault<string?>(Other, values) is { } other ? new InboxReceived(false, other)
                : new InboxReceived(connection.Execute(Receive, values) > 0, null),
            cancellationToken
        );
    }

    /// <summary>What a page is read from, for the look at its plan.</summary>
    internal static string Range(InboxListing listing) =>
        // The planner knows no figures. The rows of other groups that are in the way of all events count as compared.
        listing.People
            is null
            ? "FROM inbox NOT INDEXED WHERE number < @before"
            : $"FROM inbox INDEXED BY inbox_people WHERE group_name = @group AND {InboxListing.IsOfPeople} AND state = @people "
                + "AND number < @before";

    private InboxPage List(SqliteConnection connection, InboxListing listing)
    {
        var values = new
        {
            group,
            people = listing.People,
            state = listing.State,
            source = listing.Query.Source,
            type = listing.Query.Type,
            from = listing.From,
            to = listing.To,
            before = listing.Before,
            limit = listing.Query.Limit + 1,
            // The rows of other groups are compared, too.
            last = listing.Compares || listing.People is null ? Last(connection, listing) : null,
        };
        var sql = $"""
            SELECT {Shown} {Range(listing)} AND number >= coalesce(@last, 0)
              AND group_name = @group AND (@source IS NULL OR source = @source) AND (@state IS NULL OR state = @state)
              AND (@type IS NULL OR coalesce(event_type, '') = @type)
              AND (@from IS NULL OR received_at >= @from) AND (@to IS NULL OR received_at < @to)
            ORDER BY number DESC LIMIT @limit
            """;
        return listing.Page([.. connection.Query<ShownRow>(sql, values).Select(row => row.ToShown())], values.last);
    }

    // The number of the last row that the page compares, if there are so many.
    private long? Last(SqliteConnection connection, InboxListing listing) =>
        connection.QuerySingleOrDefault<long?>(
            $"SELECT number {Range(listing)} ORDER BY number DESC LIMIT 1 OFFSET @reads - 1",
            new
            {
                group,
                people = listing.People,
                before = listing.Before,
                reads = InboxListing.MostLookedAt,
            }
        );

    private InboxEvent? Find(SqliteConnection connection, string id) =>
        connection
            .QuerySingleOrDefault<ShownRow?>($"SELECT {Shown} FROM inbox WHERE group_name = @group AND id = @id", new { group, id })
            ?.ToShown();

    private sealed class ShownRow : InboxRow
    {
        public bool HasBody { get; set; }
        public string? SenderId { get; set; }
        public string? SenderType { get; set; }

        public InboxEvent ToShown() => ToRecord() with { HasBody = HasBody, Labels = InboxRules.LabelsOf(SenderId, SenderType) };
    }
}
