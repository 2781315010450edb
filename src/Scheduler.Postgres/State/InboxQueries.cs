using Npgsql;
using Scheduler.Inbox;

namespace Scheduler.Postgres.State;

/// <summary>The statements of the inbox. Thread-safe.</summary>
internal sealed class InboxQueries
{
    /// <summary>How many columns <see cref="ReadAsync"/> reads.</summary>
    public const int ColumnCount = 17;

    private const string Columns =
        "i.number, i.id, i.source, i.state, i.event_id, i.event_type, i.dedupe_key, i.order_key, i.received_at, i.attempts, i.counted, "
        + "i.due_at, i.replica, i.finished_at, i.error, i.conflicts_with, i.body_bytes";

    private readonly string _add;
    private readonly string _hits;
    private readonly string _addConflicts;
    private readonly string _claim;
    private readonly string _finish;
    private readonly string _replay;
    private readonly string _accept;
    private readonly string _keepFirst;
    private readonly string _find;
    private readonly string _list;

    public InboxQueries(StatePlace place)
    {
        var schema = place.Quoted;
        _add = $"SELECT {schema}.add_events($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)";
        _hits = $"""
            SELECT q.ordinality, h.id, h.state, h.body_hash, h.content_hash
            FROM unnest($2, $3, $4, $5) WITH ORDINALITY AS q (source, event_id, dedupe_key, body_hash)
            CROSS JOIN LATERAL {schema}.event_hits($1, q.source, q.event_id, q.dedupe_key, q.body_hash) AS h
            """;
        _addConflicts = $"SELECT n, known_id FROM {schema}.add_conflicts($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)";
        _claim = $"SELECT {Columns}, i.body FROM {schema}.claim_events($1, $2, $3, $4, $5, $6, $7, $8) AS i";
        _finish = $"""
            UPDATE {schema}.inbox AS i SET state = q.state, counted = i.counted - q.uncounted,
              error = CASE WHEN q.state = 'processing' THEN i.error ELSE q.error END,
              due_at = CASE WHEN q.state IN ('failed', 'received', 'processing')
                THEN clock_timestamp() + q.after_ms * interval '1 millisecond' END,
              finished_at = CASE WHEN q.state = 'done' THEN clock_timestamp() END
            FROM unnest($2, $3, $4, $5, $6, $7) AS q (id, attempt, state, error, uncounted, after_ms)
            WHERE i.id = q.id AND i.group_name || '' = $1 AND i.attempts = q.attempt AND i.state = 'processing'
            RETURNING i.id
            """;
        var change = $"WHERE i.id = $2 AND i.group_name || '' = $1 AND i.state";
        _replay = $"""
            UPDATE {schema}.inbox AS i SET state = 'received', due_at = clock_timestamp(), counted = 0
            {change} IN ('failed', 'dead') RETURNING i.id
            """;
        // As an event of its own it has effects of its own.
        _accept = $"""
            UPDATE {schema}.inbox AS i SET state = 'received', due_at = clock_timestamp(), dedupe_key = i.dedupe_key || '~' || i.id
            {change} = 'conflict' RETURNING i.id
            """;
        _keepFirst = $"""
            UPDATE {schema}.inbox AS i SET state = 'ignored', finished_at = clock_timestamp() {change} = 'conflict' RETURNING i.id
            """;
        _find = $"SELECT {Columns} FROM {schema}.inbox i WHERE i.id = $2 AND i.group_name || '' = $1";
        _list = $"""
            SELECT {Columns} FROM {schema}.inbox i
            WHERE i.group_name = $1 AND i.number < $2 AND ($3::text IS NULL OR i.source = $3) AND ($4::text IS NULL OR i.state = $4)
            ORDER BY i.number DESC LIMIT $5
            """;
    }

    public void Add(NpgsqlBatch batch, string group, Guid[] ids, IReadOnlyList<InboxArrival> arrivals)
    {
        batch
            .Add(_add)
            .Text(group)
            .Ids(ids)
            .Texts([.. arrivals.Select(a => a.Source)])
            .Texts([.. arrivals.Select(a => InboxRules.NameOf(a.State))])
            .Flags([.. arrivals.Select(InboxRules.IsBodyKey)])
            .Texts([.. arrivals.Select(a => a.EventId)])
            .Texts([.. arrivals.Select(a => a.Type)])
            .Texts([.. arrivals.Select(a => a.DedupeKey)])
            .Texts([.. arrivals.Select(a => a.OrderKey)])
            .Bytes([.. arrivals.Select(a => (ReadOnlyMemory<byte>)a.BodyHash)])
            .Bytes([.. arrivals.Select(a => (ReadOnlyMemory<byte>)a.ContentHash)])
            .TimeList([.. arrivals.Select(a => (DateTime?)Times.Of(a.ReceivedAt))])
            .Texts([.. arrivals.Select(a => Texts.Keepable(InboxRules.ErrorOf(a.Reason)))])
            .Bytes([.. arrivals.Select(a => a.Body)]);
    }

    public void Hits(NpgsqlBatch batch, string group, IReadOnlyList<InboxArrival> arrivals) =>
        batch
            .Add(_hits)
            .Text(group)
            .Texts([.. arrivals.Select(a => a.Source)])
            .Texts([.. arrivals.Select(a => a.EventId)])
            .Texts([.. arrivals.Select(a => a.DedupeKey)])
            // Of others the hash is no key.
            .Bytes([.. arrivals.Select(a => InboxRules.IsBodyKey(a) ? (ReadOnlyMemory<byte>)a.BodyHash : default)]);

    public void AddConflicts(NpgsqlBatch batch, string group, Guid[] firsts, Guid[] ids, IReadOnlyList<InboxArrival> arrivals)
    {
        batch
            .Add(_addConflicts)
            .Text(group)
            .Number(IInbox.MaxConflicts)
            .Ids(firsts)
            .Ids(ids)
            .Texts([.. arrivals.Select(a => a.Source)])
            .Texts([.. arrivals.Select(a => a.EventId)])
            .Texts([.. arrivals.Select(a => a.Type)])
            .Texts([.. arrivals.Select(a => a.DedupeKey)])
            .Texts([.. arrivals.Select(a => a.OrderKey)])
            .Bytes([.. arrivals.Select(a => (ReadOnlyMemory<byte>)a.BodyHash)])
            .Bytes([.. arrivals.Select(a => (ReadOnlyMemory<byte>)a.ContentHash)])
            .TimeList([.. arrivals.Select(a => (DateTime?)Times.Of(a.ReceivedAt))])
            .Bytes([.. arrivals.Select(a => a.Body)]);
    }

    public void Claim(NpgsqlBatch batch, string group, InboxClaimRequest request, int limit, int width)
    {
        batch
            .Add(_claim)
            .Text(group)
            .Texts([.. request.Kinds.Select(k => k.Source)])
            .Texts([.. request.Kinds.Select(k => k.Type)])
            .Flags([.. request.Kinds.Select(k => k.GoesOn)])
            .Number(limit)
            .Number(width)
            .Interval(request.Hold)
            .Text(request.Replica);
    }

    public void Finish(NpgsqlBatch batch, string group, IReadOnlyList<InboxEnd> ends)
    {
        var rows = ends.Select(e => (Id: Guid.TryParse(e.Id, out var id) ? id : Guid.Empty, End: e)).OrderBy(e => e.Id).ToList();
        batch
            .Add(_finish)
            .Text(group)
            .Ids([.. rows.Select(r => r.Id)])
            .Numbers([.. rows.Select(r => r.End.Attempt)])
            .Texts([.. rows.Select(r => InboxRules.NameOf(r.End.State))])
            .Texts([.. rows.Select(r => r.End.State == InboxState.Done ? null : Texts.Keepable(InboxRules.ErrorOf(r.End.Error)))])
            .Numbers([.. rows.Select(r => r.End.Counts ? 0 : 1)])
            .Numbers([.. rows.Select(r => (long)r.End.After.TotalMilliseconds)]);
    }

    public void Replay(NpgsqlBatch batch, string group, Guid id) => batch.Add(_replay).Text(group).Id(id);

    public void Resolve(NpgsqlBatch batch, string group, Guid id, bool accept) =>
        batch.Add(accept ? _accept : _keepFirst).Text(group).Id(id);

    public void Find(NpgsqlBatch batch, string group, Guid id) => batch.Add(_find).Text(group).Id(id);

    public void List(NpgsqlBatch batch, string group, string? source, InboxState? state, int limit, long? before) =>
        batch
            .Add(_list)
            .Text(group)
            .Number(before ?? long.MaxValue)
            .Text(source)
            .Text(state is { } s ? InboxRules.NameOf(s) : null)
            .Number(limit);

    /// <summary>Reads the columns of an event.</summary>
    public static async Task<InboxEvent> ReadAsync(NpgsqlDataReader reader) =>
        new()
        {
            Number = reader.GetInt64(0),
            Id = reader.GetGuid(1).ToString(),
            Source = reader.GetString(2),
            State = InboxRules.StateOf(reader.GetString(3)),
            EventId = await TextAsync(reader, 4),
            Type = await TextAsync(reader, 5),
            DedupeKey = await TextAsync(reader, 6),
            OrderKey = await TextAsync(reader, 7),
            ReceivedAt = Times.From(reader.GetDateTime(8)),
            Attempts = reader.GetInt32(9),
            Counted = reader.GetInt32(10),
            DueAt = await TimeAsync(reader, 11),
            Replica = await TextAsync(reader, 12),
            FinishedAt = await TimeAsync(reader, 13),
            Error = await TextAsync(reader, 14),
            ConflictsWith = await reader.IsDBNullAsync(15) ? null : reader.GetGuid(15).ToString(),
            BodyBytes = reader.GetInt32(16),
        };

    private static async Task<string?> TextAsync(NpgsqlDataReader reader, int column) =>
        await reader.IsDBNullAsync(column) ? null : reader.GetString(column);

    private static async Task<DateTimeOffset?> TimeAsync(NpgsqlDataReader reader, int column) =>
        await reader.IsDBNullAsync(column) ? null : Times.From(reader.GetDateTime(column));
}
