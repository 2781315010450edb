using Scheduler.Runs;

namespace Scheduler.Postgres.State;

/// <summary>Reads pages of the history. Thread-safe.</summary>
internal sealed class RunList(StateDatabase database, string group)
{
    private readonly RunListQueries _queries = new(database.Place, group);

    /// <summary>The page of a query.</summary>
    public async ValueTask<RunPage> ReadAsync(RunQuery query, CancellationToken cancellationToken)
    {
        var listing = new RunListing(query);
        // The table of open runs has no order by scheduled time: all of them are read, or, where that were too many, the runs themselves.
        if (listing.Source == RunListSource.Open && await CountOpenAsync(cancellationToken) <= RunListing.MostLookedAt)
        {
            var open = await database.CallAsync(batch => _queries.OpenPage(listing).AddTo(batch), RunReader.RunsAsync, cancellationToken);
            return listing.Page(open, last: null);
        }
        return await database.CallAsync(
            batch =>
            {
                _queries.Page(listing).AddTo(batch);
                if (listing.Compares)
                {
                    _queries.Last(listing).AddTo(batch);
                }
            },
            async reader =>
            {
                var rows = await RunReader.RunsAsync(reader);
                return listing.Compares && await reader.NextResultAsync() && await reader.ReadAsync()
                    ? listing.Page(rows, (Times.From(reader.GetDateTime(0)), reader.GetGuid(1).ToString("N")))
                    : listing.Page(rows, last: null);
            },
            cancellationToken
        );
    }

    private ValueTask<long> CountOpenAsync(CancellationToken cancellationToken) =>
        database.CallAsync(
            batch => _queries.CountOpen.AddTo(batch),
            static async reader =>
            {
                await reader.ReadAsync();
                return reader.GetInt64(0);
            },
            cancellationToken
        );
}
