using Dapper;
using Microsoft.Data.Sqlite;
using Scheduler.Runs;

namespace Scheduler.Sqlite.State;

/// <summary>What several calls of the ledger read. Stateless and thread-safe.</summary>
internal static class RunQueries
{
    /// <summary>
    /// Which rows tell about a range of a trigger's occurrences. Each half has an index of its own; one condition with OR, or an order
    /// that an index could give (hence the sign), would read the whole history of the trigger, and this is asked once a second.
    /// </summary>
    public const string OccurrencesTail = """
        WHERE rowid IN (
          SELECT rowid FROM runs WHERE group_name = @group AND job = @job AND trigger_name = @trigger AND kind = 'scheduled'
            AND scheduled_at > @after AND scheduled_at <= @until
          UNION ALL
          SELECT rowid FROM runs WHERE group_name = @group AND job = @job AND trigger_name = @trigger AND kind = 'scheduled'
            AND finished_at >= @after AND +scheduled_at <= @until)
        ORDER BY +scheduled_at
        """;

    private const string BeforeTail = """
        WHERE group_name = @group AND job = @job AND trigger_name = @trigger AND kind = 'scheduled'
          AND scheduled_at <= @after AND state <> 'overlapped'
        ORDER BY scheduled_at DESC LIMIT 1
        """;

    private const string Select = $"SELECT {RunRow.Columns} FROM runs ";

    /// <summary>A new id that sorts by time.</summary>
    public static string NewId(DateTimeOffset now) => LedgerRules.NewId(now).ToString("N");

    public static RunRow? Find(SqliteConnection connection, string group, string id) =>
        connection.QuerySingleOrDefault<RunRow>(Select + "WHERE group_name = @group AND id = @id", new { group, id });

    public static RunRow? FindOccurrence(SqliteConnection connection, string group, Occurrence occurrence) =>
        connection.QuerySingleOrDefault<RunRow>(
            Select + "WHERE group_name = @group AND job = @job AND trigger_name = @trigger AND scheduled_at = @at AND kind = 'scheduled'",
            new
            {
                group,
                job = occurrence.Job,
                trigger = occurrence.Trigger,
                at = Times.Of(occurrence.ScheduledAt),
            }
        );

    public static List<RunRow> List(SqliteConnection connection, string tail, object values) =>
        connection.Query<RunRow>(Select + tail, values).AsList();

    public static RecordedRange Range(SqliteConnection connection, string group, OccurrenceRange range)
    {
        var values = new
        {
            group,
            job = range.Job,
            trigger = range.Trigger,
            after = Times.Of(range.After),
            until = Times.Of(range.Until),
        };
        return new RecordedRange(
            [.. List(connection, OccurrencesTail, values).Select(row => WithAttempts(connection, group, row))],
            List(connection, BeforeTail, values) is [var before] ? WithAttempts(connection, group, before) : null
        );
    }

    public static RecordedOccurrence WithAttempts(SqliteConnection connection, string group, RunRow row) =>
        new(
            row.ToRecord(),
            [
                .. connection
                    .Query<AttemptRow>(
                        $"SELECT {AttemptRow.Columns} FROM run_attempts WHERE group_name = @group AND run_id = @id ORDER BY attempt",
                        new { group, id = row.Id }
                    )
                    .Select(attempt => attempt.ToRecord()),
            ]
        );
}
