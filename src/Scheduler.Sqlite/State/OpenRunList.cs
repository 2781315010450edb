using Dapper;
using Microsoft.Data.Sqlite;
using Scheduler.Runs;

namespace Scheduler.Sqlite.State;

/// <summary>Reads the runs that are open, each list in the order of its index. Stateless and thread-safe.</summary>
internal static class OpenRunList
{
    /// <summary>The condition that runs meet which somebody may have to start; the text of the partial indexes.</summary>
    public const string IsQueued = "state IN ('waiting', 'interrupted', 'orphaned')";

    /// <summary>Since when a run is due; the text of the indexes.</summary>
    public const string Due = "coalesce(next_attempt_at, scheduled_at)";

    /// <summary>The running ones.</summary>
    internal const string Running = $"""
        SELECT {RunRow.Columns} FROM runs INDEXED BY runs_running WHERE group_name = @group AND state = 'running'
        ORDER BY scheduled_at, id LIMIT @runningLimit
        """;

    /// <summary>A part of what somebody may have to start, and whether each is the first of its kind under its key.</summary>
    internal const string Queue = $"""
        SELECT rowid AS Row, {Due} AS Due, id AS Id, NOT EXISTS (
          SELECT 1 FROM runs e INDEXED BY runs_queue_of_key
          WHERE e.group_name = @group AND e.lock_key = runs.lock_key AND (e.state = 'orphaned') = @orphaned
            AND e.state IN ('waiting', 'interrupted', 'orphaned')
            AND coalesce(e.next_attempt_at, e.scheduled_at) <= coalesce(runs.next_attempt_at, runs.scheduled_at)
            AND (coalesce(e.next_attempt_at, e.scheduled_at) < coalesce(runs.next_attempt_at, runs.scheduled_at) OR e.id < runs.id)
        ) AS IsFirst
        FROM runs INDEXED BY runs_queue
        WHERE group_name = @group AND (state = 'orphaned') = @orphaned AND {IsQueued} AND {Due} BETWEEN @at AND @until
          AND ({Due} > @at OR id > @id)
        ORDER BY {Due}, id LIMIT @limit
        """;

    private const string Rows = $"""
        SELECT {RunRow.Columns} FROM runs WHERE rowid IN (SELECT value FROM json_each(@rows)) ORDER BY {Due}, id
        """;

    /// <summary>One look.</summary>
    public static RunPage Read(SqliteConnection connection, string group, OpenRunsListing listing)
    {
        var running = connection.Query<RunRow>(Running, new { group, runningLimit = listing.RunningLimit });
        var claimable = ReadQueue(connection, group, listing, listing.Claimable, listing.DueUntil, orphaned: 0);
        var orphaned = ReadQueue(connection, group, listing, listing.Orphaned, DateTimeOffset.MaxValue, orphaned: 1);
        var first = claimable.Concat(orphaned).Where(place => place.IsFirst != 0).Select(place => place.Row);
        var queued = connection.Query<RunRow>(Rows, new { rows = $"[{string.Join(',', first)}]" });
        return listing.Page([.. running.Concat(queued).Select(row => row.ToRecord())], PlacesOf(claimable), PlacesOf(orphaned));
    }

    private static List<Place> ReadQueue(
        SqliteConnection connection,
        string group,
        OpenRunsListing listing,
        (long At, string Id) behind,
        DateTimeOffset until,
        int orphaned
    ) =>
        connection
            .Query<Place>(
                Queue,
                new
                {
                    group,
                    orphaned,
                    at = behind.At,
                    id = behind.Id,
                    until = Times.Of(until),
                    limit = listing.Limit,
                }
            )
            .AsList();

    private static List<(long At, string Id)> PlacesOf(List<Place> places) => places.ConvertAll(place => (place.Due, place.Id));

    private sealed class Place
    {
        public long Row { get; set; }
        public long Due { get; set; }
        public string Id { get; set; } = "";
        public long IsFirst { get; set; }
    }
}
