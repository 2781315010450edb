using Scheduler.Runs;

namespace Scheduler.Postgres.State;

/// <summary>The counts of skips on PostgreSQL. Thread-safe.</summary>
internal sealed class PostgresRunSkips(StateDatabase database, string group) : IRunSkips
{
    private const string Columns = "s.minute, s.job, s.replica, s.reason, s.count";

    private readonly string _table = $"{database.Place.Quoted}.run_skips";

    public async ValueTask AddAsync(IReadOnlyList<SkipCount> counts, CancellationToken cancellationToken)
    {
        LedgerRules.CheckBatch(counts, IRunSkips.MaxBatch);
        if (counts.Count == 0)
        {
            return;
        }
        await database.WriteAsync(
            batch =>
                batch
                    .Add(
                        $"INSERT INTO {_table} (group_name, minute, job, replica, reason, count) "
                            + "SELECT $1, q.* FROM unnest($2, $3, $4, $5, $6) AS q ON CONFLICT DO NOTHING"
                    )
                    .Text(group)
                    .TimeList([.. counts.Select(c => (DateTime?)Times.Of(c.Minute))])
                    .Texts([.. counts.Select(c => c.Job)])
                    .Texts([.. counts.Select(c => c.Replica)])
                    .Texts([.. counts.Select(c => SkipListing.NameOf(c.Reason))])
                    .Numbers([.. counts.Select(c => c.Count)]),
            cancellationToken
        );
    }

    public ValueTask<SkipPage> ListAsync(SkipQuery query, CancellationToken cancellationToken)
    {
        var listing = new SkipListing(query);
        return database.CallAsync(
            batch => Select(listing).AddTo(batch),
            async reader =>
            {
                var counts = new List<SkipCount>();
                while (await reader.ReadAsync())
                {
                    counts.Add(
                        new SkipCount(
                            Times.From(reader.GetDateTime(0)),
                            reader.GetString(1),
                            reader.GetString(2),
                            Enum.Parse<SkipReason>(reader.GetString(3), ignoreCase: true),
                            reader.GetInt32(4)
                        )
                    );
                }
                return listing.Page(counts);
            },
            cancellationToken
        );
    }

    /// <summary>Deletes counts of minutes before $2 of the group $1, at most $3, and says how many.</summary>
    public static string Prune(StatePlace place) =>
        $"""
            WITH gone AS (
              DELETE FROM {place.Quoted}.run_skips d USING (
                SELECT s.group_name, s.minute, s.job, s.replica, s.reason FROM {place.Quoted}.run_skips s
                WHERE s.group_name = $1 AND s.minute < $2 ORDER BY s.minute LIMIT $3 FOR UPDATE SKIP LOCKED) old
              WHERE d.group_name = old.group_name AND d.minute = old.minute AND d.job = old.job AND d.replica = old.replica
                AND d.reason = old.reason RETURNING 1)
            SELECT count(*) FROM gone
            """;

    // By ranges and orders that one index has, as in RunListQueries.
    private Statement Select(SkipListing listing)
    {
        var values = new List<object> { group };
        var job = listing.Query.Job;
        var sql = $"SELECT {Columns} FROM {_table} s WHERE s.group_name = $1";
        if (job is not null)
        {
            sql += $" AND s.job <= {Add(job)} AND s.job >= {Add(job)}";
        }
        if (listing.From is { } from)
        {
            sql += job is null ? $" AND s.minute >= {Time(from)}" : $" AND (s.job, s.minute) >= ({Add(job)}, {Time(from)})";
        }
        if (listing.Before is { } before)
        {
            var (at, rest) = (Time(before.At), $"{Add(before.Replica)}, {Add(before.Reason)}");
            sql += job is null
                ? $" AND (s.minute, s.job, s.replica, s.reason) < ({at}, {Add(before.Job)}, {rest})"
                : $" AND (s.job, s.minute, s.replica, s.reason) < ({Add(job)}, {at}, {rest})";
        }
        var order = job is null ? "s.minute DESC, s.job DESC" : "s.job DESC, s.minute DESC";
        return new($"{sql} ORDER BY {order}, s.replica DESC, s.reason DESC LIMIT {Add(listing.Query.Limit + 1)}", values);

        string Add(object value)
        {
            values.Add(value);
            return string.Create(System.Globalization.CultureInfo.InvariantCulture, $"${values.Count}");
        }

        string Time(long milliseconds) => Add(Times.Of(DateTimeOffset.FromUnixTimeMilliseconds(milliseconds)));
    }
}
