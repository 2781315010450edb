using Npgsql;
using Scheduler.Locking;
using Scheduler.Runs;

namespace Scheduler.Postgres.State;

/// <summary>The run ledger on PostgreSQL. Thread-safe.</summary>
internal sealed class PostgresRunLedger : IRunLedger
{
    // Idle fences may go after seven days: tokens grow with time, so a new one starts above (DESIGN: tokens grow).
    private static readonly TimeSpan FencesStay = TimeSpan.FromDays(7);

    private const int AtOnce = 500;

    private readonly StateDatabase _database;
    private readonly string _group;
    private readonly RunQueries _queries;
    private readonly RunList _list;
    private readonly ClaimCommand _claims;
    private readonly GroupCommit<ClaimRequest, ClaimAnswer> _groupedClaims;
    private readonly GroupCommit<Ending, CompletionResult> _groupedCompletions;

    public PostgresRunLedger(StateDatabase database, string group)
    {
        _database = database;
        _group = group;
        _queries = new RunQueries(database.Place);
        _list = new RunList(database, group);
        _claims = new ClaimCommand(database, _queries, group);
        // Claims wait for the fences of their keys, completions for their runs: in these orders no two groups wait for each other. A claim
        // of a run locks both and goes alone.
        _groupedClaims = new(
            _claims.RunAsync,
            static (left, right) => string.CompareOrdinal(left.LockKey.Value, right.LockKey.Value),
            database.Place,
            database.Log
        );
        var completions = new CompletionCommand(database, _queries, group);
        _groupedCompletions = new(completions.RunAsync, static (left, right) => left.Id.CompareTo(right.Id), database.Place, database.Log);
    }

    public async ValueTask<ClaimResult> ClaimAsync(ClaimRequest request, CancellationToken cancellationToken)
    {
        LedgerRules.Check(request);
        return request.Occurrence is null
            ? await _claims.RunAgainAsync(request, cancellationToken)
            : (await _groupedClaims.CallAsync(request, cancellationToken)).ToResult(request);
    }

    public ValueTask<CompletionResult> CompleteAsync(Completion completion, CancellationToken cancellationToken)
    {
        LedgerRules.Check(completion);
        return TryParse(completion.RunId) is { } id
            ? _groupedCompletions.CallAsync(new Ending(id, completion), cancellationToken)
            : ValueTask.FromResult(CompletionResult.Refused);
    }

    public async ValueTask<RequestResult> RequestAsync(RunRequest request, CancellationToken cancellationToken)
    {
        LedgerRules.Check(request);
        var id = LedgerRules.NewId(request.RequestedAt);
        var found = await _database.CallAsync(
            batch =>
            {
                batch.Add(_queries.Durable);
                batch
                    .Add(_queries.InsertRequest)
                    .Text(_group)
                    .Id(id)
                    .Text(request.Job)
                    .Text(RunRecord.ManualTrigger)
                    .Time(request.RequestedAt)
                    .Text(request.LockKey.Value)
                    .Text(request.Data)
                    .Text(request.RequestKey)
                    .Text(request.RequestData);
                batch.Add(_queries.FindRequested).Text(_group).Id(id).Text(request.Job).Text(request.RequestKey);
            },
            static async reader =>
            {
                await reader.NextResultAsync();
                return await RunReader.RequestedAsync(reader);
            },
            cancellationToken
        );
        return found is not { } row ? new RequestResult.Full()
            : row.Run.Id == id.ToString("N") ? new RequestResult.Recorded(row.Run)
            : LedgerRules.Repeated(row.Run, row.Said, request.RequestData);
    }

    public async ValueTask<RequestResult?> FindRequestAsync(
        string job,
        string requestKey,
        string requestData,
        CancellationToken cancellationToken
    )
    {
        var found = await _database.CallAsync(
            batch => batch.Add(_queries.FindRequested).Text(_group).Id(Guid.Empty).Text(job).Text(requestKey),
            RunReader.RequestedAsync,
            cancellationToken
        );
        return found is { } row ? LedgerRules.Repeated(row.Run, row.Said, requestData) : null;
    }

    public async ValueTask<RunRecord?> ReopenAsync(string runId, CancellationToken cancellationToken)
    {
        if (TryParse(runId) is not { } id)
        {
            return null;
        }
        return await _database.CallAsync(
            batch =>
            {
                batch.Add(_queries.Durable);
                batch.Add(_queries.Reopen).Text(_group).Id(id);
                batch.Add(_queries.FindRun).Text(_group).Id(id);
            },
            static async reader =>
            {
                await reader.NextResultAsync();
                return (await RunReader.RunsAsync(reader)).FirstOrDefault();
            },
            cancellationToken
        );
    }

    public async ValueTask<bool> OrphanAsync(string runId, FencingToken token, CancellationToken cancellationToken) =>
        TryParse(runId) is { } id
        && await _database.CallAsync(
            batch => batch.Add(_queries.Orphan).Text(_group).Id(id).Number(token.Value),
            static reader => reader.ReadAsync(),
            cancellationToken
        );

    public async ValueTask<RecordedOccurrence?> FindAsync(string runId, CancellationToken cancellationToken)
    {
        if (TryParse(runId) is not { } id)
        {
            return null;
        }
        return await _database.CallAsync(
            batch => batch.Add(_queries.Find).Text(_group).Id(id),
            RunReader.OccurrenceAsync,
            cancellationToken
        );
    }

    public ValueTask<RunPage> ListAsync(RunQuery query, CancellationToken cancellationToken) => _list.ReadAsync(query, cancellationToken);

    public async ValueTask<RunPage> OpenRunsAsync(OpenRunsQuery query, CancellationToken cancellationToken)
    {
        var listing = new OpenRunsListing(query);
        return await _database.CallAsync(
            batch =>
                batch
                    .Add(_queries.OpenRuns)
                    .Text(_group)
                    .Time(listing.DueUntil)
                    .Number(listing.Limit)
                    .Time(DateTimeOffset.FromUnixTimeMilliseconds(listing.Claimable.At))
                    .Id(TryParse(listing.Claimable.Id) ?? Guid.Empty)
                    .Time(DateTimeOffset.FromUnixTimeMilliseconds(listing.Orphaned.At))
                    .Id(TryParse(listing.Orphaned.Id) ?? Guid.Empty)
                    .Number(listing.RunningLimit),
            reader => RunReader.OpenRunsAsync(reader, listing),
            cancellationToken
        );
    }

    public async ValueTask<IReadOnlyList<RecordedRange>> OccurrencesAsync(
        IReadOnlyList<OccurrenceRange> ranges,
        CancellationToken cancellationToken
    )
    {
        LedgerRules.CheckBatch(ranges, IRunLedger.MaxRanges);
        return await _database.CallAsync(
            batch =>
                batch
                    .Add(_queries.Occurrences)
                    .Text(_group)
                    .Texts([.. ranges.Select(r => r.Job)])
                    .Texts([.. ranges.Select(r => r.Trigger)])
                    .TimeList([.. ranges.Select(r => (DateTime?)Times.Of(r.After))])
                    .TimeList([.. ranges.Select(r => (DateTime?)Times.Of(r.Until))]),
            reader => RunReader.RangesAsync(reader, ranges.Count),
            cancellationToken
        );
    }

    public ValueTask RecordWaitingAsync(
        Occurrence occurrence,
        LockKey lockKey,
        string? data,
        DateTimeOffset now,
        CancellationToken cancellationToken
    )
    {
        LedgerRules.CheckData(data);
        var id = LedgerRules.NewId(now);
        return _database.WriteAsync(
            batch =>
            {
                batch.Add(_queries.Durable);
                batch
                    .Add(_queries.InsertWaiting)
                    .Text(_group)
                    .Id(id)
                    .Text(occurrence.Job)
                    .Text(occurrence.Trigger)
                    .Time(occurrence.ScheduledAt)
                    .Text(lockKey.Value)
                    .Text(data)
                    .Time(now);
            },
            cancellationToken
        );
    }

    public async ValueTask RecordOverlappedAsync(
        IReadOnlyList<Occurrence> occurrences,
        LockKey lockKey,
        DateTimeOffset now,
        CancellationToken cancellationToken
    )
    {
        ArgumentNullException.ThrowIfNull(occurrences);
        if (occurrences.Count == 0)
        {
            return;
        }
        // In the order in which every replica has them.
        Occurrence[] rows =
        [
            .. occurrences
                .OrderBy(o => o.Job, StringComparer.Ordinal)
                .ThenBy(o => o.Trigger, StringComparer.Ordinal)
                .ThenBy(o => o.ScheduledAt),
        ];
        await _database.WriteAsync(
            batch =>
            {
                batch.Add(_queries.Durable);
                batch
                    .Add(_queries.InsertOverlapped)
                    .Text(_group)
                    .Ids([.. rows.Select(_ => LedgerRules.NewId(now))])
                    .Texts([.. rows.Select(o => o.Job)])
                    .Texts([.. rows.Select(o => o.Trigger)])
                    .TimeList([.. rows.Select(o => (DateTime?)Times.Of(o.ScheduledAt))])
                    .Text(lockKey.Value)
                    .Time(now);
            },
            cancellationToken
        );
    }

    public async ValueTask<int> PruneAsync(DateTimeOffset finishedBefore, int limit, CancellationToken cancellationToken)
    {
        LedgerRules.CheckLimit(limit, 10_000);
        var deleted = await CountAsync(
            batch => batch.Add(_queries.PruneRuns).Text(_group).Time(finishedBefore).Number(limit),
            cancellationToken
        );
        if (deleted < limit)
        {
            await PruneRestAsync(finishedBefore, cancellationToken);
        }
        return deleted;
    }

    // Once, when no run is left, and few fences at a time: a claim of a key whose fence goes waits for that transaction.
    private async ValueTask PruneRestAsync(DateTimeOffset before, CancellationToken cancellationToken)
    {
        await _database.WriteAsync(
            batch =>
            {
                batch.Add(_queries.PruneOpenRuns).Text(_group);
                batch.Add(_queries.PrunePauses).Text(_group).Time(before);
            },
            cancellationToken
        );
        await PruneAllAsync(_queries.PruneSkips, before, cancellationToken);
        await PruneAllAsync(_queries.PruneAudit, before, cancellationToken);
        await PruneAllAsync(_queries.PruneFences, before - FencesStay, cancellationToken);
    }

    private async ValueTask PruneAllAsync(string sql, DateTimeOffset before, CancellationToken cancellationToken)
    {
        while (await CountAsync(batch => batch.Add(sql).Text(_group).Time(before).Number(AtOnce), cancellationToken) == AtOnce)
        {
            // The next ones.
        }
    }

    private ValueTask<int> CountAsync(Action<NpgsqlBatch> fill, CancellationToken cancellationToken) =>
        _database.CallAsync(
            fill,
            static async reader =>
            {
                await reader.ReadAsync();
                return (int)reader.GetInt64(0);
            },
            cancellationToken
        );

    /// <summary>The id of a run as the table has it; none for a text that no run can have.</summary>
    internal static Guid? TryParse(string? id) => Guid.TryParseExact(id, "N", out var parsed) && parsed.ToString("N") == id ? parsed : null;
}
