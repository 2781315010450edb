using Npgsql;
using Scheduler.Auditing;
using Scheduler.Runs;

namespace Scheduler.Postgres.State;

/// <summary>The audit trail on PostgreSQL. Thread-safe.</summary>
internal sealed class PostgresAudit(StateDatabase database, string group) : IAuditTrail
{
    private readonly string _table = $"{database.Place.Quoted}.audit";

    public async ValueTask AddAsync(AuditEntry entry, CancellationToken cancellationToken)
    {
        var kept = AuditRules.Kept(entry);
        await database.CallDurablyAsync(
            batch =>
                batch
                    .Add(
                        $"""
                        INSERT INTO {_table} (group_name, id, at, who, action, target, parameters, replica, outcome, detail)
                        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) ON CONFLICT DO NOTHING
                        """
                    )
                    .Text(group)
                    .Id(AuditRules.IdOf(kept.Id))
                    .Time(kept.At)
                    .Text(kept.Who)
                    .Text(kept.Action)
                    .Text(kept.Target)
                    .Text(kept.Parameters)
                    .Text(kept.Replica)
                    .Number(kept.Outcome)
                    .Text(kept.Detail),
            static _ => Task.FromResult(true),
            cancellationToken
        );
    }

    public async ValueTask EndAsync(string id, int outcome, string? detail, CancellationToken cancellationToken) =>
        await database.CallDurablyAsync(
            batch =>
                batch
                    .Add($"UPDATE {_table} SET outcome = $3, detail = $4 WHERE group_name = $1 AND id = $2")
                    .Text(group)
                    .Id(AuditRules.IdOf(id))
                    .Number(outcome)
                    .Text(AuditRules.Detail(detail)),
            static _ => Task.FromResult(true),
            cancellationToken
        );

    public async ValueTask<AuditPage> ListAsync(int limit, string? before, CancellationToken cancellationToken)
    {
        LedgerRules.CheckLimit(limit, 1_000);
        // No entry has the largest id of all.
        var end = before is null ? Guid.AllBitsSet : AuditRules.IdOf(before);
        return await database.CallAsync(
            batch =>
                batch
                    .Add(
                        $"""
                        SELECT id, at, who, action, target, parameters, replica, outcome, detail FROM {_table}
                        WHERE group_name = $1 AND id < $2 ORDER BY id DESC LIMIT $3
                        """
                    )
                    .Text(group)
                    .Id(end)
                    .Number(limit + 1),
            async reader =>
            {
                var entries = new List<AuditEntry>();
                while (await reader.ReadAsync())
                {
                    entries.Add(Read(reader));
                }
                return AuditRules.Page(entries, limit);
            },
            cancellationToken
        );
    }

    /// <summary>Deletes entries before $2 of the group $1, at most $3, and says how many.</summary>
    public static string Prune(StatePlace place) =>
        $"""
            WITH gone AS (
              DELETE FROM {place.Quoted}.audit d USING (
                SELECT a.group_name, a.id FROM {place.Quoted}.audit a
                WHERE a.group_name = $1 AND a.at < $2 ORDER BY a.at LIMIT $3 FOR UPDATE SKIP LOCKED) old
              WHERE d.group_name = old.group_name AND d.id = old.id RETURNING 1)
            SELECT count(*) FROM gone
            """;

    private static AuditEntry Read(NpgsqlDataReader reader) =>
        new()
        {
            Id = reader.GetGuid(0).ToString("N"),
            At = Times.From(reader.GetDateTime(1)),
            Who = reader.GetString(2),
            Action = reader.GetString(3),
            Target = reader.GetString(4),
            Parameters = reader.IsDBNull(5) ? null : reader.GetString(5),
            Replica = reader.GetString(6),
            Outcome = reader.IsDBNull(7) ? null : reader.GetInt32(7),
            Detail = reader.IsDBNull(8) ? null : reader.GetString(8),
        };
}
