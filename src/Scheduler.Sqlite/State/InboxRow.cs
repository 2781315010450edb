using Scheduler.Inbox;

namespace Scheduler.Sqlite.State;

/// <summary>A row of the inbox, as Dapper reads it.</summary>
internal class InboxRow
{
    /// <summary>What <see cref="ToRecord"/> reads.</summary>
    public const string Columns = """
        number AS Number, id AS Id, source AS Source, state AS State, event_id AS EventId, event_type AS Type, dedupe_key AS DedupeKey,
        order_key AS OrderKey, received_at AS ReceivedAt, attempts AS Attempts, counted AS Counted, due_at AS DueAt, replica AS Replica,
        finished_at AS FinishedAt, error AS Error, conflicts_with AS ConflictsWith, body_bytes AS BodyBytes
        """;

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
