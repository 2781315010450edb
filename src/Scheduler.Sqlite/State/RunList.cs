using Dapper;
using Microsoft.Data.Sqlite;
using Scheduler.Runs;

namespace Scheduler.Sqlite.State;

/// <summary>Reads pages of the history, each in the order of an index. Stateless and thread-safe.</summary>
internal static class RunList
{
    private const string Order = " ORDER BY scheduled_at DESC, id DESC ";

    /// <summary>The page of a query.</summary>
    public static RunPage Read(SqliteConnection connection, string group, RunListing listing)
    {
        var values = Values(group, listing);
        var range = Range(listing);
        Place? last = null;
        if (listing.Compares)
        {
            // Where to stop: read from the index alone.
            last = connection.QuerySingleOrDefault<Place>(
                $"SELECT scheduled_at AS At, id AS Id {range}{Order}LIMIT 1 OFFSET @reads - 1",
                values
            );
            if (last is not null)
            {
                values.Add("lastAt", last.At);
                values.Add("lastId", last.Id);
            }
        }
        var sql =
            $"SELECT {RunRow.Columns} {range}{Compared(listing)}"
            + (last is null ? "" : " AND (scheduled_at, id) >= (@lastAt, @lastId)")
            + $"{Order}LIMIT @limit";
        List<RunRecord> rows = [.. connection.Query<RunRow>(sql, values).Select(row => row.ToRecord())];
        return listing.Page(rows, last is null ? null : (Times.From(last.At), last.Id));
    }

    /// <summary>What is read, for the look at its plan.</summary>
    internal static string Range(RunListing listing) =>
        // The index is named, because the planner knows no figures and every one of them could serve.
        $"FROM runs INDEXED BY {IndexOf(listing.Source)} WHERE group_name = @group{ConditionOf(listing.Source)}"
        + (listing.Before is null ? "" : " AND (scheduled_at, id) < (@at, @id)")
        + (listing.From is null ? "" : " AND scheduled_at >= @from");

    private static string IndexOf(RunListSource source) =>
        source switch
        {
            RunListSource.OfJob => "runs_of_job",
            RunListSource.OfTrigger => "runs_occurrence",
            RunListSource.Manual => "runs_manual",
            RunListSource.Unsuccessful => "runs_unsuccessful",
            RunListSource.UnsuccessfulOfJob => "runs_unsuccessful_of_job",
            RunListSource.Open => "runs_open",
            _ => "runs_newest",
        };

    // With the texts of the partial indexes.
    private static string ConditionOf(RunListSource source) =>
        source switch
        {
            RunListSource.OfJob => " AND job = @job",
            RunListSource.OfTrigger => " AND job = @job AND trigger_name = @trigger AND kind = 'scheduled'",
            RunListSource.Manual => " AND kind = 'manual'",
            RunListSource.Unsuccessful => $" AND {RunRow.IsUnsuccessful} AND state = @state",
            RunListSource.UnsuccessfulOfJob => $" AND {RunRow.IsUnsuccessful} AND state = @state AND job = @job",
            RunListSource.Open => $" AND {RunRow.IsOpen}",
            _ => "",
        };

    private static string Compared(RunListing listing) =>
        (listing.State is null ? "" : " AND state = @state")
        + (listing.Job is null ? "" : " AND job = @job")
        + (listing.Trigger is null ? "" : " AND trigger_name = @trigger")
        + (listing.Replica is null ? "" : " AND replica = @replica")
        + (listing.LockKey is null ? "" : " AND lock_key = @lockKey");

    private static DynamicParameters Values(string group, RunListing listing)
    {
        var query = listing.Query;
        return new DynamicParameters(
            new
            {
                group,
                job = query.Job,
                state = query.State is { } state ? Times.Of(state) : null,
                trigger = query.Trigger,
                replica = query.Replica,
                lockKey = query.LockKey?.Value,
                from = listing.From,
                at = listing.Before?.At,
                id = listing.Before?.Id,
                reads = listing.Reads,
                limit = query.Limit + 1,
            }
        );
    }

    private sealed class Place
    {
        public long At { get; set; }
        public string Id { get; set; } = "";
    }
}
