using Dapper;
using Scheduler.Locking;
using Scheduler.Runs;

namespace Scheduler.Sqlite.State;

/// <summary>The events of runs on SQLite. Thread-safe.</summary>
internal sealed class SqliteRunEvents(StateDatabase database, string group) : IRunEvents
{
    private const string Insert = """
        INSERT INTO run_events (group_name, run_id, attempt, kind, at, token, replica, detail)
        SELECT @group, @run, @attempt, @kind, @at, @token, @replica, @detail
        WHERE EXISTS (SELECT 1 FROM runs WHERE group_name = @group AND id = @run)
        ON CONFLICT DO NOTHING
        """;

    private const string Select = """
        SELECT run_id AS RunId, attempt AS Attempt, kind AS Kind, at AS At, token AS Token, replica AS Replica, detail AS Detail
        FROM run_events WHERE group_name = @group AND run_id = @run ORDER BY at, attempt, kind
        """;

    public async ValueTask AddAsync(IReadOnlyList<RunEvent> events, CancellationToken cancellationToken)
    {
        LedgerRules.Check(events);
        var rows = events.Select(e => new
        {
            group,
            run = e.RunId,
            attempt = e.Attempt,
            kind = Times.Of(e.Kind),
            at = Times.Of(e.At),
            token = e.Token.Value,
            replica = e.Replica,
            detail = LedgerRules.DetailOf(e),
        });
        await database.WriteAsync(connection => connection.Execute(Insert, rows), cancellationToken);
    }

    public ValueTask<IReadOnlyList<RunEvent>> ListAsync(string runId, CancellationToken cancellationToken) =>
        database.ReadAsync<IReadOnlyList<RunEvent>>(
            connection => [.. connection.Query<Row>(Select, new { group, run = runId }).Select(row => row.ToRecord())],
            cancellationToken
        );

    private sealed class Row
    {
        public string RunId { get; set; } = "";
        public long Attempt { get; set; }
        public string Kind { get; set; } = "";
        public long At { get; set; }
        public long Token { get; set; }
        public string Replica { get; set; } = "";
        public string? Detail { get; set; }

        public RunEvent ToRecord() =>
            new(
                RunId,
                Enum.Parse<RunEventKind>(Kind, ignoreCase: true),
                Times.From(At),
                (int)Attempt,
                new FencingToken(Token),
                Replica,
                Detail
            );
    }
}
