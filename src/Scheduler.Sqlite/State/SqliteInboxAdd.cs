using Dapper;
using Microsoft.Data.Sqlite;
using Scheduler.Inbox;
using Scheduler.Sqlite.Files;

namespace Scheduler.Sqlite.State;

/// <summary>The transaction that stores arrivals. Stateless and thread-safe.</summary>
internal static class SqliteInboxAdd
{
    private const string Insert = """
        INSERT INTO inbox (group_name, id, source, state, keyed, body_keyed, event_id, event_type, dedupe_key, order_key, body_hash,
          content_hash, received_at, attempts, counted, replica, due_at, finished_at, error, conflicts_with, body_bytes, body)
        VALUES (@group, @id, @source, @state, @keyed, @bodyKeyed, @eventId, @type, @dedupeKey, @orderKey, @bodyHash, @contentHash,
          @receivedAt, @attempts, @attempts, @replica, @dueAt, @finishedAt, @error, @conflictsWith, @bodyBytes, @body)
        ON CONFLICT DO NOTHING
        """;

    private const string AddLabels =
        "INSERT INTO inbox_labels (group_name, id, sender_id, sender_type) VALUES (@group, @id, @senderId, @senderType)";

    private const string IsKeptBack = """
        SELECT EXISTS (SELECT 1 FROM inbox INDEXED BY inbox_order WHERE group_name = @group AND source = @source AND order_key = @orderKey
          AND state IN ('received', 'processing', 'failed', 'dead', 'conflict') AND (NOT @goesOn OR state NOT IN ('dead', 'conflict')))
        """;

    // Each key by its own index.
    private const string Hits = """
        SELECT id AS Id, state AS State, body_hash AS BodyHash, content_hash AS ContentHash FROM inbox
        WHERE group_name = @group AND source = @source AND dedupe_key = @dedupeKey AND keyed = 1
        UNION SELECT id, state, body_hash, content_hash FROM inbox
        WHERE group_name = @group AND source = @source AND event_id = @eventId AND keyed = 1
        UNION SELECT id, state, body_hash, content_hash FROM inbox
        WHERE group_name = @group AND source = @source AND body_hash = @bodyHash AND body_keyed = 1 AND @bodyKeyed = 1
        ORDER BY Id
        """;

    private const string Known =
        "SELECT id FROM inbox_conflicts WHERE group_name = @group AND first_id = @firstId AND content_hash = @contentHash";

    private const string Count = "SELECT count(*) FROM inbox_conflicts WHERE group_name = @group AND first_id = @firstId";

    private const string Note =
        "INSERT INTO inbox_conflicts (group_name, first_id, content_hash, id) VALUES (@group, @firstId, @contentHash, @id)";

    /// <summary>Stores arrivals one after another, so that copies among them meet the first.</summary>
    public static IReadOnlyList<InboxAnswer> Run(
        SqliteConnection connection,
        string group,
        IReadOnlyList<InboxArrival> arrivals,
        DateTimeOffset now
    )
    {
        var answers = new InboxAnswer[arrivals.Count];
        var takings = InboxRules.TakingsOf(arrivals);
        for (var i = 0; i < answers.Length; i++)
        {
            answers[i] = Add(connection, group, arrivals[i], takings[i], now);
        }
        return answers;
    }

    private static InboxAnswer Add(SqliteConnection connection, string group, InboxArrival arrival, InboxTaking? taking, DateTimeOffset now)
    {
        var id = RunQueries.NewId(arrival.ReceivedAt);
        if (taking is not null && connection.QuerySingle<bool>(IsKeptBack, KeysOf(group, arrival, taking)))
        {
            taking = null;
        }
        if (Write(connection, group, id, arrival, taking is null ? arrival.State : InboxState.Processing, conflictsWith: null, taking, now))
        {
            return taking is null
                ? new InboxAnswer(InboxOutcome.Stored, id, arrival.State)
                : Taken(arrival, taking, id, connection.QuerySingle<long>("SELECT last_insert_rowid()"), now);
        }
        var hits = connection
            .Query<HitRow>(
                Hits,
                new
                {
                    group,
                    source = arrival.Source,
                    dedupeKey = arrival.DedupeKey,
                    eventId = arrival.EventId,
                    bodyHash = arrival.BodyHash,
                    bodyKeyed = (InboxRules.IsBodyKey(arrival) ? 1 : 0),
                }
            )
            .Select(row => new InboxHit(row.Id, InboxRules.StateOf(row.State), row.BodyHash, row.ContentHash))
            .ToList();
        var first = hits[0];
        if (InboxRules.IsDuplicate(arrival, hits))
        {
            return new InboxAnswer(InboxOutcome.Duplicate, first.Id, first.State);
        }
        var values = new
        {
            group,
            firstId = first.Id,
            contentHash = arrival.ContentHash,
            id,
        };
        if (connection.QuerySingleOrDefault<string?>(Known, values) is { } known)
        {
            return new InboxAnswer(InboxOutcome.Duplicate, known, InboxState.Conflict);
        }
        if (connection.QuerySingle<long>(Count, values) < IInbox.MaxConflicts)
        {
            Write(connection, group, id, arrival, InboxState.Conflict, first.Id, taking: null, now);
            connection.Execute(Note, values);
        }
        return new InboxAnswer(InboxOutcome.Conflict, first.Id, first.State);
    }

    private static bool Write(
        SqliteConnection connection,
        string group,
        string id,
        InboxArrival arrival,
        InboxState state,
        string? conflictsWith,
        InboxTaking? taking,
        DateTimeOffset now
    )
    {
        var isStored =
            connection.ExecutePrepared(
                transaction: null,
                Insert,
                ("@group", group),
                ("@id", id),
                ("@source", arrival.Source),
                ("@state", InboxRules.NameOf(state)),
                ("@keyed", conflictsWith is null ? 1 : 0),
                ("@bodyKeyed", conflictsWith is null ? (InboxRules.IsBodyKey(arrival) ? 1 : 0) : 0),
                ("@eventId", arrival.EventId),
                ("@type", arrival.Type),
                ("@dedupeKey", arrival.DedupeKey),
                ("@orderKey", arrival.OrderKey),
                ("@bodyHash", arrival.BodyHash),
                ("@contentHash", arrival.ContentHash),
                ("@receivedAt", Times.Of(arrival.ReceivedAt)),
                ("@attempts", taking is null ? 0 : 1),
                ("@replica", taking?.Replica),
                ("@dueAt", state is InboxState.Received or InboxState.Processing ? Times.Of(now + (taking?.Hold ?? TimeSpan.Zero)) : null),
                ("@finishedAt", state == InboxState.Ignored ? Times.Of(now) : null),
                ("@error", InboxRules.ErrorOf(arrival.Reason)),
                ("@conflictsWith", conflictsWith),
                ("@bodyBytes", arrival.Body.Length),
                ("@body", InboxRules.BytesOf(arrival.Body))
            ) > 0;
        if (isStored && arrival.Labels is { } labels)
        {
            connection.Execute(
                AddLabels,
                new
                {
                    group,
                    id,
                    senderId = labels.Id,
                    senderType = labels.Type,
                }
            );
        }
        return isStored;
    }

    private static object KeysOf(string group, InboxArrival arrival, InboxTaking taking) =>
        new
        {
            group,
            source = arrival.Source,
            orderKey = arrival.OrderKey,
            goesOn = taking.GoesOn,
        };

    private static InboxAnswer Taken(InboxArrival arrival, InboxTaking taking, string id, long number, DateTimeOffset now) =>
        new(InboxOutcome.Stored, id, InboxState.Processing, InboxRules.TakenOf(arrival, taking, id, number, now + taking.Hold));

    private sealed class HitRow
    {
        public string Id { get; set; } = "";
        public string State { get; set; } = "";
        public byte[] BodyHash { get; set; } = [];
        public byte[] ContentHash { get; set; } = [];
    }
}
