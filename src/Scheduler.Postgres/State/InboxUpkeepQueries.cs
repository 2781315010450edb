using Npgsql;
using Scheduler.Inbox;

namespace Scheduler.Postgres.State;

/// <summary>The statements that keep the inbox small. Each changes a few rows that nobody takes: finished ones, or ones that wait for a
/// person; who has locked one meanwhile keeps it. Thread-safe.</summary>
internal sealed class InboxUpkeepQueries
{
    private readonly string _dropBodies;
    private readonly string _dropDeadBodies;
    private readonly string _delete;
    private readonly string _dropQuarantined;

    public InboxUpkeepQueries(StatePlace place)
    {
        var schema = place.Quoted;
        _dropBodies = Drop("i.finished_at < $2 AND i.finished_at IS NOT NULL", "i.finished_at");
        _dropDeadBodies = Drop("i.received_at < $2 AND i.state = 'dead'", "i.received_at");
        // A row whose contradiction waits for a person is what that person compares it with.
        _delete = $"""
            WITH old AS (
              SELECT i.id FROM {schema}.inbox i
              WHERE i.group_name = $1 AND i.source = $2 AND i.finished_at < $3 AND i.finished_at IS NOT NULL AND i.body IS NULL
                AND NOT EXISTS (SELECT FROM {schema}.inbox_conflicts c JOIN {schema}.inbox o ON o.id = c.id
                  WHERE c.group_name = $1 AND c.first_id = i.id AND o.finished_at IS NULL)
              ORDER BY i.finished_at LIMIT $4 FOR UPDATE OF i SKIP LOCKED),
            gone AS (DELETE FROM {schema}.inbox d USING old WHERE d.id = old.id RETURNING d.id, d.conflicts_with, d.content_hash),
            noted AS (DELETE FROM {schema}.inbox_conflicts c USING gone g WHERE c.group_name = $1 AND c.first_id = g.id),
            own AS (DELETE FROM {schema}.inbox_conflicts c USING gone g
              WHERE c.group_name = $1 AND c.first_id = g.conflicts_with AND c.content_hash = g.content_hash),
            labels AS (DELETE FROM {schema}.inbox_labels l USING gone g WHERE l.id = g.id)
            SELECT count(*) FROM gone
            """;
        // A range, as in InboxOperationsQueries.
        var quarantined = $"i.group_name = $1 AND i.{InboxListing.IsOfPeople} AND i.state >= 'quarantined' AND i.source = $2";
        _dropQuarantined = $"""
            WITH newest AS (
              SELECT i.number FROM {schema}.inbox i
              WHERE {quarantined} AND i.state <= 'quarantined' ORDER BY i.state DESC, i.number DESC LIMIT 1 OFFSET $3),
            old AS (
              SELECT i.id FROM {schema}.inbox i
              WHERE {quarantined} AND (i.state, i.number) <= ('quarantined', (SELECT number FROM newest))
              ORDER BY i.state, i.number LIMIT $4 FOR UPDATE SKIP LOCKED),
            dropped AS (
              UPDATE {schema}.inbox AS i SET state = 'ignored', finished_at = clock_timestamp(), body = NULL,
                error = left($5 || coalesce(i.error, ''), 4000)
              FROM old WHERE i.id = old.id RETURNING 1)
            SELECT count(*) FROM dropped
            """;

        string Drop(string old, string order) =>
            $"""
                WITH old AS (
                  SELECT i.id FROM {schema}.inbox i WHERE i.group_name = $1 AND {old} AND i.body IS NOT NULL
                  ORDER BY {order} LIMIT $3 FOR UPDATE SKIP LOCKED),
                dropped AS (UPDATE {schema}.inbox AS i SET body = NULL FROM old WHERE i.id = old.id RETURNING 1)
                SELECT count(*) FROM dropped
                """;
    }

    public void DropBodies(NpgsqlBatch batch, string group, DateTimeOffset before, int limit) =>
        batch.Add(_dropBodies).Text(group).Time(before).Number(limit);

    public void DropDeadBodies(NpgsqlBatch batch, string group, DateTimeOffset before, int limit) =>
        batch.Add(_dropDeadBodies).Text(group).Time(before).Number(limit);

    public void Delete(NpgsqlBatch batch, string group, string source, DateTimeOffset before, int limit) =>
        batch.Add(_delete).Text(group).Text(source).Time(before).Number(limit);

    public void DropQuarantined(NpgsqlBatch batch, string group, string source, int keep, int limit) =>
        batch.Add(_dropQuarantined).Text(group).Text(source).Number(keep).Number(limit).Text(InboxRules.DroppedError(keep));
}
