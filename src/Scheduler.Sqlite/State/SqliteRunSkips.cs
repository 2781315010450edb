using Dapper;
using Microsoft.Data.Sqlite;
using Scheduler.Runs;

namespace Scheduler.Sqlite.State;

/// <summary>The counts of skips on SQLite. Thread-safe.</summary>
internal sealed class SqliteRunSkips(StateDatabase database, string group) : IRunSkips
{
    private const string Insert = """
        INSERT INTO run_skips (group_name, minute, job, replica, reason, count)
        VALUES (@group, @minute, @job, @replica, @reason, @count) ON CONFLICT DO NOTHING
        """;

    private const string PruneSome = """
        DELETE FROM run_skips WHERE (group_name, minute, job, replica, reason) IN (
          SELECT group_name, minute, job, replica, reason FROM run_skips WHERE group_name = @group AND minute < @before
          ORDER BY minute LIMIT @limit)
        """;

    public async ValueTask AddAsync(IReadOnlyList<SkipCount> counts, CancellationToken cancellationToken)
    {
        LedgerRules.CheckBatch(counts, IRunSkips.MaxBatch);
        var rows = counts.Select(c => new
        {
            group,
            minute = Times.Of(c.Minute),
            job = c.Job,
            replica = c.Replica,
            reason = SkipListing.NameOf(c.Reason),
            count = c.Count,
        });
        await database.WriteAsync(connection => connection.Execute(Insert, rows), cancellationToken);
    }

    public ValueTask<SkipPage> ListAsync(SkipQuery query, CancellationToken cancellationToken)
    {
        var listing = new SkipListing(query);
        var values = new
        {
            group,
            job = query.Job,
            from = listing.From,
            at = listing.Before?.At,
            beforeJob = listing.Before?.Job,
            replica = listing.Before?.Replica,
            reason = listing.Before?.Reason,
            limit = query.Limit + 1,
        };
        // Each with an index that has the order; with the job given, its place in the order is the same for all.
        var sql =
            "SELECT minute AS Minute, job AS Job, replica AS Replica, reason AS Reason, count AS Count FROM run_skips "
            + "WHERE group_name = @group"
            + (query.Job is null ? "" : " AND job = @job")
            + (listing.From is null ? "" : " AND minute >= @from")
            + (listing.Before, query.Job) switch
            {
                (null, _) => "",
                (_, null) => " AND (minute, job, replica, reason) < (@at, @beforeJob, @replica, @reason)",
                _ => " AND (minute, replica, reason) < (@at, @replica, @reason)",
            }
            + " ORDER BY minute DESC, job DESC, replica DESC, reason DESC LIMIT @limit";
        return database.ReadAsync(
            connection => listing.Page([.. connection.Query<Row>(sql, values).Select(row => row.ToRecord())]),
            cancellationToken
        );
    }

    /// <summary>Deletes counts of minutes before a time, at most so many.</summary>
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
        public long Minute { get; set; }
        public string Job { get; set; } = "";
        public string Replica { get; set; } = "";
        public string Reason { get; set; } = "";
        public long Count { get; set; }

        public SkipCount ToRecord() => new(Times.From(Minute), Job, Replica, Enum.Parse<SkipReason>(Reason, ignoreCase: true), (int)Count);
    }
}
