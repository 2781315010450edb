using Dapper;
using Scheduler.Inbox;

namespace Scheduler.Sqlite.State;

/// <summary>The inbox on SQLite, by the wall clock of the one host. Thread-safe.</summary>
internal sealed partial class SqliteInbox(StateDatabase database, string group, TimeProvider time) : IInbox
{
    private const string Columns = """
        number AS Number, id AS Id, source AS Source, state AS State, event_id AS EventId, event_type AS Type, dedupe_key AS DedupeKey,
        order_key AS OrderKey, received_at AS ReceivedAt, attempts AS Attempts, counted AS Counted, due_at AS DueAt, replica AS Replica,
        finished_at AS FinishedAt, error AS Error, conflicts_with AS ConflictsWith, body_bytes AS BodyBytes
        """;

    private const string Due = $"""
        SELECT {Columns}, body AS Body FROM inbox i INDEXED BY inbox_due
        WHERE group_name = @group AND state IN ('received', 'processing', 'failed') AND due_at <= @now AND source IN @sources
          AND NOT EXISTS (SELECT 1 FROM inbox e INDEXED BY inbox_order
            WHERE e.group_name = @group AND e.source = i.source AND e.order_key = i.order_key AND e.number < i.number
              AND e.state IN ('received', 'processing', 'failed', 'dead', 'conflict')
              AND (e.state IN ('received', 'processing', 'failed') OR e.source NOT IN @goOn))
        ORDER BY due_at, number LIMIT @limit
        """;

    private const string Take = """
        UPDATE inbox SET state = 'processing', attempts = attempts + 1, counted = counted + 1, due_at = @until, replica = @replica
        WHERE group_name = @group AND id = @id
        """;

    private const string Finish = """
        UPDATE inbox SET state = @state, due_at = @dueAt, finished_at = @finishedAt, error = iif(@state = 'processing', error, @error),
          counted = counted - iif(@counts, 0, 1)
        WHERE group_name = @group AND id = @id AND attempts = @attempt AND state = 'processing'
        """;

    public ValueTask<IReadOnlyList<InboxAnswer>> AddAsync(IReadOnlyList<InboxArrival> arrivals, CancellationToken cancellationToken)
    {
        InboxRules.Check(arrivals);
        return database.WriteAsync(connection => SqliteInboxAdd.Run(connection, group, arrivals, time.GetUtcNow()), cancellationToken);
    }

    public ValueTask<IReadOnlyList<InboxClaim>> ClaimAsync(InboxClaimRequest request, CancellationToken cancellationToken)
    {
        InboxRules.Check(request);
        return database.WriteAsync<IReadOnlyList<InboxClaim>>(
            connection =>
            {
                var now = time.GetUtcNow();
                var rows = connection
                    .Query<Row>(
                        Due,
                        new
                        {
                            group,
                            now = Times.Of(now),
                            sources = request.Sources,
                            goOn = request.GoOn,
                            limit = request.Limit,
                        }
                    )
                    .AsList();
                var until = Times.Of(now + request.Hold);
                foreach (var row in rows)
                {
                    connection.Execute(
                        Take,
                        new
                        {
                            group,
                            id = row.Id,
                            until,
                            replica = request.Replica,
                        }
                    );
                    (row.State, row.DueAt, row.Replica) = ("processing", until, request.Replica);
                    (row.Attempts, row.Counted) = (row.Attempts + 1, row.Counted + 1);
                }
                return rows.ConvertAll(row => new InboxClaim(row.ToRecord(), row.Body!));
            },
            cancellationToken
        );
    }

    public ValueTask<IReadOnlyList<bool>> FinishAsync(IReadOnlyList<InboxEnd> ends, CancellationToken cancellationToken)
    {
        InboxRules.Check(ends);
        return database.WriteAsync<IReadOnlyList<bool>>(
            connection =>
            {
                var now = time.GetUtcNow();
                return [.. ends.Select(end => connection.Execute(Finish, Values(end, now)) > 0)];
            },
            cancellationToken
        );
    }

    private object Values(InboxEnd end, DateTimeOffset now) =>
        new
        {
            group,
            id = end.Id,
            attempt = end.Attempt,
            state = InboxRules.NameOf(end.State),
            dueAt = end.State is InboxState.Failed or InboxState.Received or InboxState.Processing
                ? Times.Of(now + end.After)
                : (long?)null,
            finishedAt = end.State == InboxState.Done ? Times.Of(now) : (long?)null,
            error = end.State == InboxState.Done ? null : InboxRules.ErrorOf(end.Error),
            counts = end.Counts,
        };

    private class Row
    {
        public long Number { get; set; }
        public string Id { get; set; } = "";
        public string Source { get; set; } = "";
        public string State { get; set; } = "";
        public string? EventId { get; set; }
        public string? Type { get; set; }
        public string? DedupeKey { get; set; }
        public string? OrderKey { get; set; }
        public long ReceivedAt { get; set; }
        public long Attempts { get; set; }
        public long Counted { get; set; }
        public long? DueAt { get; set; }
        public string? Replica { get; set; }
        public long? FinishedAt { get; set; }
        public string? Error { get; set; }
        public string? ConflictsWith { get; set; }
        public long BodyBytes { get; set; }
        public byte[]? Body { get; set; }

        public InboxEvent ToRecord() =>
            new()
            {
                Number = Number,
                Id = Id,
                Source = Source,
                State = InboxRules.StateOf(State),
                EventId = EventId,
                Type = Type,
                DedupeKey = DedupeKey,
                OrderKey = OrderKey,
                ReceivedAt = Times.From(ReceivedAt),
                Attempts = (int)Attempts,
                Counted = (int)Counted,
                DueAt = Times.From(DueAt),
                Replica = Replica,
                FinishedAt = Times.From(FinishedAt),
                Error = Error,
                ConflictsWith = ConflictsWith,
                BodyBytes = (int)BodyBytes,
            };
    }
}
