using Dapper;
using Microsoft.Data.Sqlite;
using Scheduler.Inbox;
using Scheduler.Runs;

namespace Scheduler.Sqlite.State;

// What keeps the inbox small.
internal sealed partial class SqliteInbox
{
    private const string DropBodies = """
        UPDATE inbox SET body = NULL WHERE number IN (
          SELECT number FROM inbox INDEXED BY inbox_finished
          WHERE group_name = @group AND finished_at < @before AND finished_at IS NOT NULL AND body IS NOT NULL
          ORDER BY finished_at LIMIT @limit)
        """;

    private const string DropDeadBodies = """
        UPDATE inbox SET body = NULL WHERE number IN (
          SELECT number FROM inbox INDEXED BY inbox_dead
          WHERE group_name = @group AND received_at < @before AND state = 'dead' AND body IS NOT NULL
          ORDER BY received_at LIMIT @limit)
        """;

    // A row whose contradiction waits for a person is what that person compares it with.
    private const string Old = """
        SELECT number AS Number, id AS Id, conflicts_with AS ConflictsWith, content_hash AS ContentHash
        FROM inbox i INDEXED BY inbox_bodiless
        WHERE group_name = @group AND source = @source AND finished_at < @before AND finished_at IS NOT NULL AND body IS NULL
          AND NOT EXISTS (SELECT 1 FROM inbox_conflicts c JOIN inbox o ON o.group_name = c.group_name AND o.id = c.id
            WHERE c.group_name = @group AND c.first_id = i.id AND o.finished_at IS NULL)
        ORDER BY finished_at LIMIT @limit
        """;

    private const string Delete = """
        DELETE FROM inbox WHERE number = @number;
        DELETE FROM inbox_conflicts WHERE group_name = @group AND first_id = @id;
        DELETE FROM inbox_conflicts WHERE group_name = @group AND first_id = @conflictsWith AND content_hash = @contentHash;
        DELETE FROM inbox_labels WHERE group_name = @group AND id = @id
        """;

    private const string Quarantined = $"""
        FROM inbox INDEXED BY inbox_people
        WHERE group_name = @group AND {InboxListing.IsOfPeople} AND state = 'quarantined' AND source = @source
        """;

    private const string Newest = $"SELECT number {Quarantined} ORDER BY number DESC LIMIT 1 OFFSET @keep";

    private const string DropQuarantined = $"""
        UPDATE inbox SET state = 'ignored', finished_at = @now, body = NULL, error = substr(@error || coalesce(error, ''), 1, 4000)
        WHERE number IN (SELECT number {Quarantined} AND number <= @newest ORDER BY number LIMIT @limit)
        """;

    private readonly SqliteSteps _steps = new(database, time);

    public ValueTask<int> DropBodiesAsync(DateTimeOffset finishedBefore, int limit, CancellationToken cancellationToken) =>
        DropAsync(DropBodies, finishedBefore, limit, cancellationToken);

    public ValueTask<int> DropDeadBodiesAsync(DateTimeOffset receivedBefore, int limit, CancellationToken cancellationToken) =>
        DropAsync(DropDeadBodies, receivedBefore, limit, cancellationToken);

    public ValueTask<int> DeleteAsync(string source, DateTimeOffset finishedBefore, int limit, CancellationToken cancellationToken)
    {
        LedgerRules.CheckLimit(limit, 10_000);
        var before = Times.Of(finishedBefore);
        return _steps.RunAsync((connection, most) => DeleteOld(connection, source, before, most), limit, cancellationToken);
    }

    public async ValueTask<int> DropQuarantinedAsync(string source, int keep, int limit, CancellationToken cancellationToken)
    {
        LedgerRules.CheckLimit(limit, 10_000);
        ArgumentOutOfRangeException.ThrowIfNegative(keep);
        var newest = await database.ReadAsync(
            connection =>
                connection.QuerySingleOrDefault<long?>(
                    Newest,
                    new
                    {
                        group,
                        source,
                        keep,
                    }
                ),
            cancellationToken
        );
        if (newest is null)
        {
            return 0;
        }
        var (now, error) = (Times.Of(time.GetUtcNow()), InboxRules.DroppedError(keep));
        return await _steps.RunAsync(
            (connection, most) =>
                connection.Execute(
                    DropQuarantined,
                    new
                    {
                        group,
                        source,
                        newest,
                        now,
                        error,
                        limit = most,
                    }
                ),
            limit,
            cancellationToken
        );
    }

    private ValueTask<int> DropAsync(string sql, DateTimeOffset time, int limit, CancellationToken cancellationToken)
    {
        LedgerRules.CheckLimit(limit, 10_000);
        var before = Times.Of(time);
        return _steps.RunAsync(
            (connection, most) =>
                connection.Execute(
                    sql,
                    new
                    {
                        group,
                        before,
                        limit = most,
                    }
                ),
            limit,
            cancellationToken
        );
    }

    private int DeleteOld(SqliteConnection connection, string source, long before, int limit)
    {
        var rows = connection
            .Query<OldRow>(
                Old,
                new
                {
                    group,
                    source,
                    before,
                    limit,
                }
            )
            .AsList();
        foreach (var row in rows)
        {
            connection.Execute(
                Delete,
                new
                {
                    group,
                    number = row.Number,
                    id = row.Id,
                    conflictsWith = row.ConflictsWith,
                    contentHash = row.ContentHash,
                }
            );
        }
        return rows.Count;
    }

    private sealed class OldRow
    {
        public long Number { get; set; }
        public string Id { get; set; } = "";
        public string? ConflictsWith { get; set; }
        public byte[] ContentHash { get; set; } = [];
    }
}
