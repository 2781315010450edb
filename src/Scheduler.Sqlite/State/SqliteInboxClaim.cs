using Dapper;
using Microsoft.Data.Sqlite;
using Scheduler.Inbox;

namespace Scheduler.Sqlite.State;

/// <summary>The transaction that takes due events. Stateless and thread-safe.</summary>
internal static class SqliteInboxClaim
{
    private const string Live = "state IN ('received', 'processing', 'failed')";

    private const string Due = $"""
        SELECT number AS Number, order_key AS OrderKey, due_at AS DueAt FROM inbox INDEXED BY inbox_due
        WHERE group_name = @group AND turn = @turn AND source = @source AND coalesce(event_type, '') = @type AND {Live} AND due_at <= @now
        ORDER BY due_at, number LIMIT @width
        """;

    private const string Judge = $"""
        SELECT
          {IsBefore} state = 'received') OR {IsBefore} state = 'failed') OR {IsBefore} state = 'processing') AS IsBehind,
          {IsBefore} state = 'dead') OR {IsBefore} state = 'conflict') AS WaitsForPerson
        """;

    // One state each: of all of them, those of a long order would be read up to the number.
    private const string IsBefore = """
        EXISTS (SELECT 1 FROM inbox INDEXED BY inbox_order
          WHERE group_name = @group AND source = @source AND order_key = @orderKey AND number < @number
            AND state IN ('received', 'processing', 'failed', 'dead', 'conflict') AND
        """;

    private const string HoldBack = "UPDATE inbox SET turn = @turn WHERE number = @number";

    private const string Take = $"""
        UPDATE inbox SET state = 'processing', attempts = attempts + 1, counted = counted + 1, due_at = @until, replica = @replica
        WHERE number = @number RETURNING {InboxRow.Columns}, body AS Body
        """;

    /// <summary>Looks at the given number of events that are due longest and have their turn, and takes those that are first.</summary>
    public static (IReadOnlyList<InboxClaim> Claims, bool IsMore) Look(
        SqliteConnection connection,
        string group,
        InboxClaimRequest request,
        int limit,
        int width,
        DateTimeOffset now
    )
    {
        var due = request
            .Kinds.SelectMany(kind => FindDue(connection, group, kind, width, now))
            .OrderBy(row => row.DueAt)
            .ThenBy(row => row.Number)
            .Take(width)
            .ToList();
        var (claims, isMoved) = (new List<InboxClaim>(), false);
        foreach (var row in due)
        {
            if (claims.Count == limit)
            {
                break;
            }
            var (source, _, goesOn) = row.Kind;
            var verdict = connection.QuerySingle<Verdict>(
                Judge,
                new
                {
                    group,
                    source,
                    orderKey = row.OrderKey,
                    number = row.Number,
                }
            );
            if (verdict.IsBehind || (verdict.WaitsForPerson && !goesOn))
            {
                isMoved |= connection.Execute(HoldBack, new { turn = verdict.IsBehind ? (int?)null : 2, number = row.Number }) > 0;
            }
            else
            {
                var until = Times.Of(now + request.Hold);
                var taken = connection.QuerySingle<InboxRow>(
                    Take,
                    new
                    {
                        number = row.Number,
                        until,
                        replica = request.Replica,
                    }
                );
                claims.Add(new InboxClaim(taken.ToRecord(), taken.Body!));
            }
        }
        return (claims, isMoved && due.Count >= width);
    }

    private static IEnumerable<DueRow> FindDue(SqliteConnection connection, string group, InboxKind kind, int width, DateTimeOffset now)
    {
        // Those of the second turn are held back by what a person has to settle.
        foreach (var turn in kind.GoesOn ? (int[])[1, 2] : [1])
        {
            var rows = connection.Query<DueRow>(
                Due,
                new
                {
                    group,
                    turn,
                    source = kind.Source,
                    type = kind.Type,
                    now = Times.Of(now),
                    width,
                }
            );
            foreach (var row in rows)
            {
                row.Kind = kind;
                yield return row;
            }
        }
    }

    private sealed class DueRow
    {
        public long Number { get; set; }
        public string OrderKey { get; set; } = "";
        public long DueAt { get; set; }
        public InboxKind Kind { get; set; }
    }

    private sealed class Verdict
    {
        public bool IsBehind { get; set; }
        public bool WaitsForPerson { get; set; }
    }
}
