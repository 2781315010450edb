using Dapper;
using Microsoft.Data.Sqlite;
using Scheduler.Runs;

namespace Scheduler.Sqlite.State;

/// <summary>The transaction of a request for a run. Stateless and thread-safe.</summary>
internal static class SqliteRequest
{
    private const string Count = $"""
        SELECT count(*) FROM runs INDEXED BY runs_requested
        WHERE group_name = @group AND job = @job AND kind = 'manual' AND {RunRow.IsOpen}
        """;

    private const string Insert = """
        INSERT INTO runs (group_name, id, job, trigger_name, kind, scheduled_at, lock_key, data, state, attempt, request_key, request_data,
          created_at)
        VALUES (@group, @id, @job, @trigger, 'manual', @at, @lockKey, @data, 'waiting', 0, @requestKey, @requestData, @at)
        """;

    private const string Earlier = $"""
        SELECT {RunRow.Columns}, request_data AS RequestData FROM runs
        WHERE group_name = @group AND job = @job AND request_key = @requestKey
        """;

    public static RequestResult Run(SqliteConnection connection, string group, RunRequest request)
    {
        if (request.RequestKey is { } key && Find(connection, group, request.Job, key, request.RequestData) is { } repeated)
        {
            return repeated;
        }
        if (connection.ExecuteScalar<long>(Count, new { group, job = request.Job }) >= IRunLedger.MostRequested)
        {
            return new RequestResult.Full();
        }
        var id = RunQueries.NewId(request.RequestedAt);
        connection.Execute(
            Insert,
            new
            {
                group,
                id,
                job = request.Job,
                trigger = RunRecord.ManualTrigger,
                at = Times.Of(request.RequestedAt),
                lockKey = request.LockKey.Value,
                data = request.Data,
                requestKey = request.RequestKey,
                requestData = request.RequestData,
            }
        );
        return new RequestResult.Recorded(RunQueries.Find(connection, group, id)!.ToRecord());
    }

    public static RequestResult? Find(SqliteConnection connection, string group, string job, string requestKey, string? requestData) =>
        connection.QuerySingleOrDefault<RequestRow>(
            Earlier,
            new
            {
                group,
                job,
                requestKey,
            }
        )
            is { } row
            ? LedgerRules.Repeated(row.ToRecord(), row.RequestData, requestData)
            : null;

    private sealed class RequestRow : RunRow
    {
        public string? RequestData { get; set; }
    }
}
