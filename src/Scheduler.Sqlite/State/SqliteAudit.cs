using Dapper;
using Microsoft.Data.Sqlite;
using Scheduler.Auditing;
using Scheduler.Runs;

namespace Scheduler.Sqlite.State;

/// <summary>The audit trail on SQLite. Thread-safe.</summary>
internal sealed class SqliteAudit(StateDatabase database, string group) : IAuditTrail
{
    private const string Insert = """
        INSERT INTO audit (group_name, id, at, who, action, target, parameters, replica, outcome, detail)
        VALUES (@group, @id, @at, @who, @action, @target, @parameters, @replica, @outcome, @detail) ON CONFLICT DO NOTHING
        """;

    private const string List = """
        SELECT id AS Id, at AS At, who AS Who, action AS Action, target AS Target, parameters AS Parameters, replica AS Replica,
          outcome AS Outcome, detail AS Detail
        FROM audit WHERE group_name = @group AND id < @end ORDER BY id DESC LIMIT @limit
        """;

    private const string PruneSome = """
        DELETE FROM audit WHERE (group_name, id) IN (
          SELECT group_name, id FROM audit INDEXED BY audit_at WHERE group_name = @group AND at < @before ORDER BY at LIMIT @limit)
        """;

    public async ValueTask AddAsync(AuditEntry entry, CancellationToken cancellationToken)
    {
        var kept = AuditRules.Kept(entry);
        var values = new
        {
            group,
            id = AuditRules.IdOf(kept.Id).ToString("N"),
            at = Times.Of(kept.At),
            who = kept.Who,
            action = kept.Action,
            target = kept.Target,
            parameters = kept.Parameters,
            replica = kept.Replica,
            outcome = kept.Outcome,
            detail = kept.Detail,
        };
        await database.WriteAsync(connection => connection.Execute(Insert, values), cancellationToken);
    }

    public async ValueTask EndAsync(string id, int outcome, string? detail, CancellationToken cancellationToken)
    {
        var values = new
        {
            group,
            id = AuditRules.IdOf(id).ToString("N"),
            outcome,
            detail = AuditRules.Detail(detail),
        };
        await database.WriteAsync(
            connection =>
                connection.Execute("UPDATE audit SET outcome = @outcome, detail = @detail WHERE group_name = @group AND id = @id", values),
            cancellationToken
        );
    }

    public async ValueTask<AuditPage> ListAsync(int limit, string? before, CancellationToken cancellationToken)
    {
        LedgerRules.CheckLimit(limit, 1_000);
        var values = new
        {
            group,
            // No entry has the largest id of all.
            end = (before is null ? Guid.AllBitsSet : AuditRules.IdOf(before)).ToString("N"),
            limit = limit + 1,
        };
        var entries = await database.ReadAsync(
            connection => connection.Query<Row>(List, values).Select(row => row.ToRecord()).ToList(),
            cancellationToken
        );
        return AuditRules.Page(entries, limit);
    }

    /// <summary>Deletes entries before a time, at most so many.</summary>
    /// <returns>How many.</returns>
    public static int Prune(SqliteConnection connection, string group, long before, int limit) =>
        connection.Execute(
            PruneSome,
            new
            {
                group,
                before,
                limit,
            }
        );

    private sealed class Row
    {
        public string Id { get; set; } = "";
        public long At { get; set; }
        public string Who { get; set; } = "";
        public string Action { get; set; } = "";
        public string Target { get; set; } = "";
        public string? Parameters { get; set; }
        public string Replica { get; set; } = "";
        public long? Outcome { get; set; }
        public string? Detail { get; set; }

        public AuditEntry ToRecord() =>
            new()
            {
                Id = Id,
                At = Times.From(At),
                Who = Who,
                Action = Action,
                Target = Target,
                Parameters = Parameters,
                Replica = Replica,
                Outcome = (int?)Outcome,
                Detail = Detail,
            };
    }
}
