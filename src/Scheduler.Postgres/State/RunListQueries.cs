using System.Globalization;
using Npgsql;
using Scheduler.Runs;

namespace Scheduler.Postgres.State;

/// <summary>A statement with its values, in the order of <c>$1</c>, <c>$2</c> and so on.</summary>
internal sealed record Statement(string Sql, IReadOnlyList<object> Values)
{
    public void AddTo(NpgsqlBatch batch)
    {
        var parameters = batch.Add(Sql);
        foreach (var value in Values)
        {
            parameters.Add(new NpgsqlParameter { Value = value });
        }
    }
}

/// <summary>The statements of pages of the history, each in the order of an index or of a table. Immutable and thread-safe.</summary>
internal sealed class RunListQueries(StatePlace place, string group)
{
    private static readonly string Columns = RunReader.Columns("r.");

    /// <summary>How many open runs there are, at most one more than a page compares.</summary>
    public Statement CountOpen =>
        new(
            string.Create(
                CultureInfo.InvariantCulture,
                $"""
                SELECT count(*) FROM (SELECT 1 FROM {place.Quoted}.open_runs o WHERE o.group_name = $1 LIMIT {RunListing.MostLookedAt
                    + 1}) o
                """
            ),
            [group]
        );

    /// <summary>The rows of a page, and one more if there is more.</summary>
    public Statement Page(RunListing listing)
    {
        var values = new List<object> { group };
        var entries = $"{Entries(listing, "*", values)} LIMIT {Add(values, listing.Reads)}";
        // OFFSET keeps the planner from joining with the whole table.
        var rows = IsUnsuccessful(listing)
            ? $"({entries}) e CROSS JOIN LATERAL "
                + $"(SELECT * FROM {place.Quoted}.runs r WHERE r.id = e.run_id AND r.group_name || '' = $1 OFFSET 0) r"
            : $"({entries}) r";
        // The order of the entries, which the planner knows, so that nothing is sorted.
        var order = Order(listing, IsUnsuccessful(listing) ? "e" : "r");
        return new($"SELECT {Columns} FROM {rows}{Compared(listing, values)} ORDER BY {order} LIMIT {Limit(listing, values)}", values);
    }

    /// <summary>Where the last row stands that the page compares, if there are so many.</summary>
    public Statement Last(RunListing listing)
    {
        var values = new List<object> { group };
        var entries = Entries(listing, $"r.scheduled_at, r.{IdOf(listing)}", values);
        return new($"{entries} LIMIT 1 OFFSET {Add(values, listing.Reads - 1)}", values);
    }

    /// <summary>The page of runs that are not over, where they are so few that all of them can be compared.</summary>
    public Statement OpenPage(RunListing listing)
    {
        var values = new List<object> { group };
        return new(
            $"""
            SELECT {Columns} FROM {place.Quoted}.open_runs o
            CROSS JOIN LATERAL (SELECT * FROM {place.Quoted}.runs r WHERE r.id = o.run_id AND r.group_name || '' = $1 OFFSET 0) r
            {Compared(listing, values)} AND o.group_name = $1{Range([], "r.id", listing, values)}
            ORDER BY r.scheduled_at DESC, r.id DESC LIMIT {Limit(listing, values)}
            """,
            values
        );
    }

    // What is asked for by name is a range from it to it, and ordered by it: so there is one index that gives the order. With an equation
    // the planner may, where a name is frequent, look for it in the order of all runs, and a session keeps that plan for rare names.
    private string Entries(RunListing listing, string columns, List<object> values)
    {
        var condition = listing.Source switch
        {
            RunListSource.OfTrigger => " AND r.kind = 'scheduled'",
            RunListSource.Manual => " AND r.kind = 'manual'",
            _ => "",
        };
        var table = IsUnsuccessful(listing) ? "unsuccessful_runs" : "runs";
        return $"SELECT {columns} FROM {place.Quoted}.{table} r WHERE r.group_name = $1{condition}"
            + $"{Range(Names(listing), $"r.{IdOf(listing)}", listing, values)} ORDER BY {Order(listing, "r")}";
    }

    private static string Order(RunListing listing, string row)
    {
        string[] columns = [.. Names(listing).Select(n => n.Column["r.".Length..]), "scheduled_at", IdOf(listing)];
        return string.Join(", ", columns.Select(column => $"{row}.{column} DESC"));
    }

    private static (string Column, object Value)[] Names(RunListing listing) =>
        listing.Source switch
        {
            RunListSource.OfJob => [("r.job", listing.Query.Job!)],
            RunListSource.OfTrigger => [("r.job", listing.Query.Job!), ("r.trigger_name", listing.Query.Trigger!)],
            RunListSource.Unsuccessful => [("r.state", NameOf(listing))],
            RunListSource.UnsuccessfulOfJob => [("r.job", listing.Query.Job!), ("r.state", NameOf(listing))],
            _ => [],
        };

    private static string Range((string Column, object Value)[] names, string id, RunListing listing, List<object> values)
    {
        (string Column, object Value)[] upper = listing.Before is { } before
            ? [.. names, ("r.scheduled_at", Time(before.At)), (id, PostgresRunLedger.TryParse(before.Id) ?? Guid.Empty)]
            : names;
        (string Column, object Value)[] lower = listing.From is { } from ? [.. names, ("r.scheduled_at", Time(from))] : names;
        return Bound(upper, listing.Before is null ? "<=" : "<", values) + Bound(lower, ">=", values);
    }

    private static string Bound((string Column, object Value)[] bound, string comparison, List<object> values) =>
        bound.Length == 0
            ? ""
            : $" AND ({string.Join(", ", bound.Select(b => b.Column))}) {comparison} "
                + $"({string.Join(", ", bound.Select(b => Add(values, b.Value)))})";

    private static string Compared(RunListing listing, List<object> values) =>
        " WHERE true"
        + (listing.State is { } state ? $" AND r.state = {Add(values, RunReader.NameOf(state))}" : "")
        + (listing.Job is { } job ? $" AND r.job = {Add(values, job)}" : "")
        + (listing.Trigger is { } trigger ? $" AND r.trigger_name = {Add(values, trigger)}" : "")
        + (listing.Replica is { } replica ? $" AND r.replica = {Add(values, replica)}" : "")
        + (listing.LockKey is { } key ? $" AND r.lock_key = {Add(values, key.Value)}" : "");

    private static string Limit(RunListing listing, List<object> values) => Add(values, listing.Query.Limit + 1);

    private static bool IsUnsuccessful(RunListing listing) =>
        listing.Source is RunListSource.Unsuccessful or RunListSource.UnsuccessfulOfJob;

    private static string IdOf(RunListing listing) => IsUnsuccessful(listing) ? "run_id" : "id";

    private static string NameOf(RunListing listing) => RunReader.NameOf(listing.Query.State!.Value);

    private static DateTime Time(long milliseconds) => Times.Of(DateTimeOffset.FromUnixTimeMilliseconds(milliseconds));

    private static string Add(List<object> values, object value)
    {
        values.Add(value);
        return string.Create(CultureInfo.InvariantCulture, $"${values.Count}");
    }
}
