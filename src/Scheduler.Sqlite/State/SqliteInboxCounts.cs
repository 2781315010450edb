using Dapper;
using Microsoft.Data.Sqlite;
using Scheduler.Inbox;

namespace Scheduler.Sqlite.State;

/// <summary>Counts what waits in the inbox; reads a bounded number of entries of indexes. Stateless.</summary>
internal static class SqliteInboxCounts
{
    private const string Open =
        "FROM inbox INDEXED BY inbox_due WHERE group_name = @group AND source = @source AND state IN ('received', 'processing', 'failed')";

    private const string OfPeople = """
        FROM inbox INDEXED BY inbox_counts
        WHERE group_name = @group AND source = @source AND state IN ('dead', 'conflict', 'quarantined')
        """;

    private const string Waiting = $"""
        SELECT (SELECT count(*) FROM (SELECT 1 {Open} AND turn = 1 LIMIT @most))
          + (SELECT count(*) FROM (SELECT 1 {Open} AND turn = 2 LIMIT @most))
          + (SELECT count(*) FROM (SELECT 1 {Open} AND turn IS NULL LIMIT @most)) AS Waiting,
          (SELECT count(*) FROM (SELECT 1 {OfPeople} AND state = 'dead' LIMIT @most)) AS Dead,
          (SELECT count(*) FROM (SELECT 1 {OfPeople} AND state = 'conflict' LIMIT @most)) AS Conflicts,
          (SELECT count(*) FROM (SELECT 1 {OfPeople} AND state = 'quarantined' LIMIT @most)) AS Quarantined
        """;

    private const string Type = "coalesce(event_type, '')";

    // The first entry of a type is the one that is due first.
    private const string First = $"SELECT {Type} AS Type, due_at AS DueAt {Open} AND turn = 1 ORDER BY {Type}, due_at LIMIT 1";

    private const string Next =
        $"SELECT {Type} AS Type, due_at AS DueAt {Open} AND turn = 1 AND {Type} > @type ORDER BY {Type}, due_at LIMIT 1";

    private const string Count =
        $"SELECT count(*) FROM (SELECT 1 {Open} AND turn = 1 AND {Type} = @type AND due_at <= @now LIMIT @mostDue)";

    public static InboxCounts Of(SqliteConnection connection, string group, string source, DateTimeOffset time)
    {
        var now = Times.Of(time);
        var due = new List<InboxDue>();
        var sql = First;
        string? type = null;
        for (var types = 0; types < InboxCounts.MostTypes; types++)
        {
            if (connection.QuerySingleOrDefault<KindRow?>(sql, Values()) is not { } kind)
            {
                break;
            }
            (sql, type) = (Next, kind.Type);
            if (kind.DueAt <= now)
            {
                due.Add(new InboxDue(type, connection.QuerySingle<int>(Count, Values()), TimeSpan.FromMilliseconds(now - kind.DueAt)));
            }
        }
        var row = connection.QuerySingle<CountRow>(Waiting, Values());
        return new InboxCounts(
            source,
            (int)Math.Min(row.Waiting, InboxCounts.Most),
            (int)row.Dead,
            (int)row.Conflicts,
            (int)row.Quarantined,
            due
        );

        object Values() =>
            new
            {
                group,
                source,
                type,
                now,
                most = InboxCounts.Most,
                mostDue = InboxCounts.MostDue,
            };
    }

    private sealed class KindRow
    {
        public string Type { get; set; } = "";
        public long DueAt { get; set; }
    }

    private sealed class CountRow
    {
        public long Waiting { get; set; }
        public long Dead { get; set; }
        public long Conflicts { get; set; }
        public long Quarantined { get; set; }
    }
}
