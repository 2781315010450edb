using Npgsql;
using Scheduler.Runs;

namespace Scheduler.Postgres.State;

/// <summary>Claims: a function in the schema raises the fence and takes the run or says why not. Thread-safe.</summary>
internal sealed class ClaimCommand(StateDatabase database, RunQueries queries, string group)
{
    /// <summary>Claims occurrences, each by itself, in one transaction.</summary>
    public async ValueTask<ClaimAnswer[]> RunAsync(IReadOnlyList<ClaimRequest> requests, CancellationToken cancellationToken)
    {
        // Once for all tries: a claim that is sent again finds the row of the first.
        Guid[] ids = [.. requests.Select(r => LedgerRules.NewId(r.Now))];
        return await database.CallAsync<ClaimAnswer[]>(
            batch => Fill(batch, ids, requests),
            async reader =>
            {
                await reader.ReadAsync();
                // Nothing: all are new and as asked for.
                var answers =
                    reader.IsDBNull(0) ? null
                    : requests.Count == 1 ? [reader.GetString(0)]
                    : reader.GetFieldValue<string?[]>(0);
                return [.. ids.Select((id, i) => new ClaimAnswer(id, answers?[i]))];
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
        var answer = await database.CallAsync(
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
                return new ClaimAnswer(id, reader.GetString(0));
            },
            cancellationToken
        );
        return answer.ToResult(request);
    }

    private void Fill(NpgsqlBatch batch, Guid[] ids, IReadOnlyList<ClaimRequest> requests)
    {
        if (requests is [{ Occurrence: { } occurrence } request])
        {
            batch
                .Add(queries.ClaimOccurrence)
                .Text(group)
                .Id(ids[0])
                .Text(occurrence.Job)
                .Text(occurrence.Trigger)
                .Time(occurrence.ScheduledAt)
                .Text(request.LockKey.Value)
                .Number(request.Token.Value)
                .Text(request.Replica)
                .Time(request.Now)
                .Text(request.Data);
            return;
        }
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
            .Texts([.. requests.Select(r => r.Data)]);
    }
}
