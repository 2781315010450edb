using Npgsql;
using Scheduler.Locking;
using Scheduler.Runs;

namespace Scheduler.Postgres.State;

/// <summary>Claims: a function in the schema raises the fence and takes the run or says why not. Thread-safe.</summary>
internal sealed class ClaimCommand(StateDatabase database, RunQueries queries, string group)
{
    private const int FirstRunColumn = 3;

    /// <summary>Claims occurrences, each by itself, in one transaction.</summary>
    public async ValueTask<ClaimResult[]> RunAsync(IReadOnlyList<ClaimRequest> requests, CancellationToken cancellationToken)
    {
        // Once for all tries: a claim that is sent again finds the row of the first.
        Guid[] ids = [.. requests.Select(r => LedgerRules.NewId(r.Now))];
        return await database.CallAsync(
            batch =>
                batch
                    .Add(queries.ClaimOccurrences)
                    .Text(group)
                    .Ids(ids)
                    .Texts([.. requests.Select(r => r.Occurrence!.Value.Job)])
                    .Texts([.. requests.Select(r => r.Occurrence!.Value.Trigger)])
                    .TimeList([.. requests.Select(r => (DateTime?)Times.Of(r.Occurrence!.Value.ScheduledAt))])
                    .Texts([.. requests.Select(r => r.LockKey.Value)])
                    .Numbers([.. requests.Select(r => r.Token.Value)])
                    .Texts([.. requests.Select(r => r.Replica)])
                    .TimeList([.. requests.Select(r => (DateTime?)Times.Of(r.Now))])
                    .Texts([.. requests.Select(r => r.Data)]),
            async reader =>
            {
                var results = new ClaimResult[requests.Count];
                for (var i = 0; i < results.Length; i++)
                {
                    await reader.ReadAsync();
                    results[i] = Answer(reader, requests[i]);
                }
                return results;
            },
            cancellationToken
        );
    }

    /// <summary>Claims the next attempt of a run.</summary>
    public async ValueTask<ClaimResult> RunAgainAsync(ClaimRequest request, CancellationToken cancellationToken)
    {
        if (PostgresRunLedger.TryParse(request.RunId) is not { } id)
        {
            return new ClaimResult.Unknown();
        }
        return await database.CallAsync(
            batch =>
                batch
                    .Add(queries.ClaimRun)
                    .Text(group)
                    .Id(id)
                    .Text(request.LockKey.Value)
                    .Number(request.Token.Value)
                    .Text(request.Replica)
                    .Time(request.Now)
                    .Flag(request.OnCrash == OnCrash.Leave)
                    .Number(request.MaxCrashes),
            async reader =>
            {
                await reader.ReadAsync();
                return Answer(reader, request);
            },
            cancellationToken
        );
    }

    private static ClaimResult Answer(NpgsqlDataReader reader, ClaimRequest request) =>
        reader.GetString(0) switch
        {
            "claimed" => new ClaimResult.Claimed(RunReader.Run(reader, FirstRunColumn)),
            "recorded" => new ClaimResult.Recorded(RunReader.Run(reader, FirstRunColumn)),
            "closed" => new ClaimResult.Closed(RunReader.Run(reader, FirstRunColumn)),
            "stale" => new ClaimResult.Stale(new FencingToken(reader.GetInt64(1))),
            "unknown" => new ClaimResult.Unknown(),
            "other_key" => throw new ArgumentException(
                $"The run '{request.RunId}' is protected by the lock key '{reader.GetString(2)}', not by '{request.LockKey}': hold that one "
                    + "to claim it.",
                nameof(request)
            ),
            "fenced" => throw new InvalidOperationException(
                $"The resource '{request.LockKey}' is fenced by the lock key '{reader.GetString(2)}', not by '{request.LockKey}': tokens of "
                    + "different keys cannot be compared. Use one lock key for all work on the resource, or another resource name."
            ),
            var other => throw new InvalidOperationException($"The schema answered a claim with '{other}'."),
        };
}
