using Npgsql;
using Scheduler.Inbox;

namespace Scheduler.Postgres.State;

/// <summary>The statements of the inbox. Thread-safe.</summary>
internal sealed class InboxQueries
{
    /// <summary>How many columns <see cref="ReadAsync"/> reads.</summary>
    public const int ColumnCount = 17;

    /// <summary>What <see cref="ReadAsync"/> reads, of rows that are called i.</summary>
    public const string Columns =
        "i.number, i.id, i.source, i.state, i.event_id, i.event_type, i.dedupe_key, i.order_key, i.received_at, i.attempts, i.counted, "
        + "i.due_at, i.replica, i.finished_at, i.error, i.conflicts_with, i.body_bytes";

    private readonly string _add;
    private readonly string _addTaking;
    private readonly string _addLabels;
    private readonly string _hits;
    private readonly string _addConflicts;
    private readonly string _claim;
    private readonly string _finish;
    private readonly string _finishOne;

    public InboxQueries(StatePlace place)
    {
        var schema = place.Quoted;
        // A group of which nothing is taken is stored without the lists for that: they are a twentieth of what it costs.
        _add = $"""
            SELECT s, NULL::uuid[], NULL::bigint[], NULL::timestamptz[]
            FROM {schema}.add_events($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14) AS s
            """;
        _addTaking = $"SELECT * FROM {schema}.add_events($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)";
        _addLabels = $"""
            INSERT INTO {schema}.inbox_labels (id, sender_id, sender_type)
            SELECT q.* FROM unnest($1, $2, $3) AS q (id, sender_id, sender_type)
            WHERE EXISTS (SELECT FROM {schema}.inbox i WHERE i.id = q.id) ON CONFLICT DO NOTHING
            """;
        _hits = $"""
            SELECT q.ordinality, h.id, h.state, h.body_hash, h.content_hash
            FROM unnest($2, $3, $4, $5) WITH ORDINALITY AS q (source, event_id, dedupe_key, body_hash)
            CROSS JOIN LATERAL {schema}.event_hits($1, q.source, q.event_id, q.dedupe_key, q.body_hash) AS h
            """;
        _addConflicts = $"SELECT n, known_id FROM {schema}.add_conflicts($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)";
        _claim = $"SELECT {Columns}, i.body FROM {schema}.claim_events($1, $2, $3, $4, $5, $6, $7, $8) AS i";
        _finish = Finish("SELECT * FROM unnest($2, $3, $4, $5, $6, $7)");
        _finishOne = Finish("SELECT $2, $3, $4, $5, $6, $7");

        string Finish(string ends) =>
            $"""
                UPDATE {schema}.inbox AS i SET state = q.state, counted = i.counted - q.uncounted,
                  error = CASE WHEN q.state = 'processing' THEN i.error ELSE q.error END,
                  due_at = CASE WHEN q.state IN ('failed', 'received', 'processing')
                    THEN clock_timestamp() + q.after_ms * interval '1 millisecond' END,
                  finished_at = CASE WHEN q.state = 'done' THEN clock_timestamp() END
                FROM ({ends}) AS q (id, attempt, state, error, uncounted, after_ms)
                WHERE i.id = q.id AND i.group_name || '' = $1 AND i.attempts = q.attempt AND i.state = 'processing'
                RETURNING i.id
                """;
    }

    public void Add(NpgsqlBatch batch, string group, Guid[] ids, IReadOnlyList<InboxArrival> arrivals, IReadOnlyList<InboxTaking?> takings)
    {
        var isTaking = takings.Any(t => t is not null);
        var parameters = batch
            .Add(isTaking ? _addTaking : _add)
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
        if (isTaking)
        {
            parameters
                .Texts([.. takings.Select(t => t?.Replica)])
                .Numbers([.. takings.Select(t => (long)(t?.Hold ?? TimeSpan.Zero).TotalMilliseconds)])
                .Flags([.. takings.Select(t => t is { GoesOn: true })]);
        }
        AddLabels(batch, [.. ids.Zip(arrivals, (id, arrival) => (id, arrival.Labels))]);
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
        AddLabels(batch, [.. ids.Zip(arrivals, (id, arrival) => (id, arrival.Labels))]);
    }

    // Of those that were stored a moment ago.
    private void AddLabels(NpgsqlBatch batch, IReadOnlyList<(Guid Id, InboxLabels? Labels)> arrivals)
    {
        var labelled = arrivals.Where(a => a.Labels is not null).ToList();
        if (labelled.Count > 0)
        {
            batch
                .Add(_addLabels)
                .Ids([.. labelled.Select(a => a.Id)])
                .Texts([.. labelled.Select(a => a.Labels!.Id)])
                .Texts([.. labelled.Select(a => a.Labels!.Type)]);
        }
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
            .Texts([.. rows.Select(r => ErrorOf(r.End))])
            .Numbers([.. rows.Select(r => r.End.Counts ? 0 : 1)])
            .Numbers([.. rows.Select(r => (long)r.End.After.TotalMilliseconds)]);
    }

    /// <summary>The same for one, in a transaction of the application, whose session is not set up for these tables.</summary>
    public void FinishOne(NpgsqlBatch batch, string group, InboxEnd end) =>
        batch
            .Add(_finishOne)
            .Text(group)
            .Id(Guid.TryParse(end.Id, out var id) ? id : Guid.Empty)
            .Number(end.Attempt)
            .Text(InboxRules.NameOf(end.State))
            .Text(ErrorOf(end))
            .Number(end.Counts ? 0 : 1)
            .Number((long)end.After.TotalMilliseconds);

    private static string? ErrorOf(InboxEnd end) => end.State == InboxState.Done ? null : Texts.Keepable(InboxRules.ErrorOf(end.Error));

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
