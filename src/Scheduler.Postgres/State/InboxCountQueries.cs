using Npgsql;
using Scheduler.Inbox;

namespace Scheduler.Postgres.State;

/// <summary>The statements that count what waits in the inbox; they read a bounded number of entries of indexes. Thread-safe.</summary>
internal sealed class InboxCountQueries
{
    private readonly string _waiting;
    private readonly string _due;

    public InboxCountQueries(StatePlace place)
    {
        var open =
            $"FROM {place.Quoted}.inbox i WHERE i.group_name = $1 AND i.source = s.source "
            + "AND i.state IN ('received', 'processing', 'failed')";
        var people = $"FROM {place.Quoted}.inbox i WHERE i.group_name = $1 AND i.source = s.source AND i.state";
        _waiting = $"""
            SELECT (SELECT count(*) FROM (SELECT {open} AND i.turn = 1 LIMIT $3) w)
                + (SELECT count(*) FROM (SELECT {open} AND i.turn = 2 LIMIT $3) w)
                + (SELECT count(*) FROM (SELECT {open} AND i.turn IS NULL LIMIT $3) w),
              (SELECT count(*) FROM (SELECT {people} = 'dead' LIMIT $3) w),
              (SELECT count(*) FROM (SELECT {people} = 'conflict' LIMIT $3) w),
              (SELECT count(*) FROM (SELECT {people} = 'quarantined' LIMIT $3) w)
            FROM unnest($2) WITH ORDINALITY AS s (source, n) ORDER BY s.n
            """;
        const string Type = "coalesce(i.event_type, '')";
        // From type to type, each by one look at the index; the first entry of a type is the one that is due first.
        var first = $"SELECT {Type} AS type, i.due_at {open} AND i.turn = 1";
        _due = $"""
            WITH RECURSIVE kinds AS (
              SELECT s.source, s.n AS place, f.type, f.due_at, 1 AS types FROM unnest($2) WITH ORDINALITY AS s (source, n)
              CROSS JOIN LATERAL ({first} ORDER BY {Type}, i.due_at LIMIT 1) f
              UNION ALL
              SELECT s.source, s.place, f.type, f.due_at, s.types + 1 FROM kinds s
              CROSS JOIN LATERAL ({first} AND {Type} > s.type ORDER BY {Type}, i.due_at LIMIT 1) f
              WHERE s.types < {InboxCounts.MostTypes})
            SELECT s.place, s.type, statement_timestamp() - s.due_at,
              (SELECT count(*) FROM (SELECT {open} AND i.turn = 1 AND {Type} = s.type AND i.due_at <= statement_timestamp() LIMIT $3) w)
            FROM kinds s WHERE s.due_at <= statement_timestamp() ORDER BY s.place, s.type
            """;
    }

    public void Waiting(NpgsqlBatch batch, string group, string[] sources) =>
        batch.Add(_waiting).Text(group).Texts(sources).Number(InboxCounts.Most);

    public void Due(NpgsqlBatch batch, string group, string[] sources) =>
        batch.Add(_due).Text(group).Texts(sources).Number(InboxCounts.MostDue);

    /// <summary>Reads what is due, by the place of its source.</summary>
    public static async Task<ILookup<int, InboxDue>> ReadDueAsync(NpgsqlDataReader reader)
    {
        var rows = new List<(int Place, InboxDue Due)>();
        while (await reader.ReadAsync())
        {
            var due = new InboxDue(reader.GetString(1), (int)reader.GetInt64(3), reader.GetFieldValue<TimeSpan>(2));
            rows.Add(((int)reader.GetInt64(0) - 1, due));
        }
        return rows.ToLookup(r => r.Place, r => r.Due);
    }

    /// <summary>Reads the counts of the sources, in their order.</summary>
    public static async Task<IReadOnlyList<InboxCounts>> ReadAsync(NpgsqlDataReader reader, string[] sources, ILookup<int, InboxDue> due)
    {
        var counts = new List<InboxCounts>();
        while (await reader.ReadAsync())
        {
            counts.Add(
                new InboxCounts(
                    sources[counts.Count],
                    (int)Math.Min(reader.GetInt64(0), InboxCounts.Most),
                    (int)reader.GetInt64(1),
                    (int)reader.GetInt64(2),
                    (int)reader.GetInt64(3),
                    [.. due[counts.Count]]
                )
            );
        }
        return counts;
    }
}
