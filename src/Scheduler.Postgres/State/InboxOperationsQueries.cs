using Npgsql;
using Scheduler.Inbox;

namespace Scheduler.Postgres.State;

/// <summary>The statements with which people look at the inbox and change it. Thread-safe.</summary>
internal sealed class InboxOperationsQueries
{
    private const int HasBody = InboxQueries.ColumnCount;

    private readonly string _shown;
    private readonly string _inbox;
    private readonly string _replay;
    private readonly string _ignore;
    private readonly string _accept;
    private readonly string _keepFirst;
    private readonly string _find;
    private readonly string _read;
    private readonly string _receive;

    public InboxOperationsQueries(StatePlace place)
    {
        _inbox = $"{place.Quoted}.inbox";
        _shown =
            $"{InboxQueries.Columns}, i.body IS NOT NULL, (SELECT l.sender_id FROM {place.Quoted}.inbox_labels l WHERE l.id = i.id), "
            + $"(SELECT l.sender_type FROM {place.Quoted}.inbox_labels l WHERE l.id = i.id)";
        // In the order of their ids, so that no two replays wait for each other.
        _replay = $"""
            UPDATE {_inbox} AS i SET state = 'received', due_at = clock_timestamp(), counted = 0, finished_at = NULL
            FROM (SELECT o.id FROM {_inbox} o
              WHERE o.id = ANY ($2) AND o.group_name || '' = $1 AND o.body IS NOT NULL
                AND (o.state IN ('failed', 'dead') OR ($3 AND o.state = 'done'))
              ORDER BY o.id FOR UPDATE) AS old
            WHERE i.id = old.id RETURNING i.id
            """;
        _ignore = $"""
            UPDATE {_inbox} AS i SET state = 'ignored', due_at = NULL, finished_at = clock_timestamp()
            FROM (SELECT o.id FROM {_inbox} o
              WHERE o.id = ANY ($2) AND o.group_name || '' = $1 AND o.state IN ('received', 'failed', 'dead', 'quarantined')
              ORDER BY o.id FOR UPDATE) AS old
            WHERE i.id = old.id RETURNING i.id
            """;
        const string Conflict = "WHERE i.id = $2 AND i.group_name || '' = $1 AND i.state = 'conflict' RETURNING i.id";
        // As an event of its own it has effects of its own.
        _accept = $"""
            UPDATE {_inbox} AS i SET state = 'received', due_at = clock_timestamp(), dedupe_key = i.dedupe_key || '~' || i.id {Conflict}
            """;
        _keepFirst = $"UPDATE {_inbox} AS i SET state = 'ignored', finished_at = clock_timestamp() {Conflict}";
        _find = $"SELECT {_shown} FROM {_inbox} i WHERE i.id = $2 AND i.group_name || '' = $1";
        _read = $"SELECT {_shown}, i.body FROM {_inbox} i WHERE i.id = $2 AND i.group_name || '' = $1";
        _receive = $"SELECT r.changed, r.other FROM {place.Quoted}.receive_event($1, $2, $3, $4, $5, $6, $7, $8, $9) r";
    }

    public void Replay(NpgsqlBatch batch, string group, Guid[] ids, bool force) => batch.Add(_replay).Text(group).Ids(ids).Flag(force);

    public void Ignore(NpgsqlBatch batch, string group, Guid[] ids) => batch.Add(_ignore).Text(group).Ids(ids);

    public void Resolve(NpgsqlBatch batch, string group, Guid id, bool accept) =>
        batch.Add(accept ? _accept : _keepFirst).Text(group).Id(id);

    public void Find(NpgsqlBatch batch, string group, Guid id) => batch.Add(_find).Text(group).Id(id);

    public void Read(NpgsqlBatch batch, string group, Guid id) => batch.Add(_read).Text(group).Id(id);

    public void Receive(NpgsqlBatch batch, string group, Guid id, InboxArrival arrival) =>
        batch
            .Add(_receive)
            .Text(group)
            .Id(id)
            .Flag(InboxRules.IsBodyKey(arrival))
            .Text(arrival.EventId)
            .Text(arrival.Type)
            .Text(arrival.DedupeKey)
            .Text(arrival.OrderKey)
            .Blob(arrival.BodyHash)
            .Blob(arrival.ContentHash);

    /// <summary>The number of the last row that a page compares, if there are so many.</summary>
    public void Last(NpgsqlBatch batch, string group, InboxListing listing) =>
        batch
            .Add($"SELECT i.number {Range(listing)} ORDER BY {Order(listing)} LIMIT 1 OFFSET {InboxListing.MostLookedAt - 1}")
            .Text(group)
            .Number(listing.Before)
            .Number(0L);

    /// <summary>The rows of a page, and one more if there is more.</summary>
    public void List(NpgsqlBatch batch, string group, InboxListing listing, long last) =>
        batch
            .Add(
                $"""
                SELECT {_shown} {Range(listing)}
                  AND ($4::text IS NULL OR i.source = $4) AND ($5::text IS NULL OR i.state = $5)
                  AND ($6::text IS NULL OR coalesce(i.event_type, '') = $6)
                  AND ($7::timestamptz IS NULL OR i.received_at >= $7) AND ($8::timestamptz IS NULL OR i.received_at < $8)
                ORDER BY {Order(listing)} LIMIT $9
                """
            )
            .Text(group)
            .Number(listing.Before)
            .Number(last)
            .Text(listing.Query.Source)
            .Text(listing.State)
            .Text(listing.Query.Type)
            .Time(TimeOf(listing.From))
            .Time(TimeOf(listing.To))
            .Number(listing.Query.Limit + 1);

    /// <summary>Reads the columns of an event that is shown.</summary>
    public static async Task<InboxEvent> ReadAsync(NpgsqlDataReader reader) =>
        await InboxQueries.ReadAsync(reader) with
        {
            HasBody = reader.GetBoolean(HasBody),
            Labels = InboxRules.LabelsOf(await TextAsync(reader, HasBody + 1), await TextAsync(reader, HasBody + 2)),
        };

    /// <summary>Reads the columns of an event that is shown, and its body.</summary>
    public static async Task<InboxBody> ReadBodyAsync(NpgsqlDataReader reader) =>
        new(await ReadAsync(reader), await reader.IsDBNullAsync(HasBody + 3) ? null : reader.GetFieldValue<byte[]>(HasBody + 3));

    private static async Task<string?> TextAsync(NpgsqlDataReader reader, int column) =>
        await reader.IsDBNullAsync(column) ? null : reader.GetString(column);

    // A state is a range from it to it, and ordered by it: so there is one index that gives the order. With an equation the planner may,
    // where a state is frequent, look for it in the order of all events, and a session keeps that plan for rare states.
    private string Range(InboxListing listing) =>
        listing.People is { } state
            ? $"FROM {_inbox} i WHERE i.group_name = $1 AND i.{InboxListing.IsOfPeople} AND (i.state, i.number) < ('{state}', $2) "
                + $"AND (i.state, i.number) >= ('{state}', $3)"
            : $"FROM {_inbox} i WHERE i.group_name = $1 AND i.number < $2 AND i.number >= $3";

    private static string Order(InboxListing listing) => listing.People is null ? "i.number DESC" : "i.state DESC, i.number DESC";

    private static DateTimeOffset? TimeOf(long? milliseconds) =>
        milliseconds is { } time ? DateTimeOffset.FromUnixTimeMilliseconds(time) : null;
}
