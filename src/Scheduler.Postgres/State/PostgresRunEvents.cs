using Scheduler.Locking;
using Scheduler.Runs;

namespace Scheduler.Postgres.State;

/// <summary>The events of runs on PostgreSQL. Thread-safe.</summary>
internal sealed class PostgresRunEvents(StateDatabase database, string group) : IRunEvents
{
    private static readonly Dictionary<string, RunEventKind> Kinds = Enum.GetValues<RunEventKind>()
        .ToDictionary(RunReader.NameOf, StringComparer.Ordinal);

    // The run is locked: it must not be deleted while its event is written, which is deleted with it. In the order of the runs, so that no
    // two replicas wait for each other.
    private readonly string _insert = $"""
        INSERT INTO {database.Place.Quoted}.run_events (group_name, run_id, attempt, kind, at, token, replica, detail)
        SELECT $1, q.run_id, q.attempt, q.kind, q.at, q.token, q.replica, q.detail
        FROM unnest($2, $3, $4, $5, $6, $7, $8) AS q (run_id, attempt, kind, at, token, replica, detail)
        CROSS JOIN LATERAL (
          SELECT FROM {database.Place.Quoted}.runs r WHERE r.id = q.run_id AND r.group_name || '' = $1 FOR KEY SHARE) r
        ON CONFLICT DO NOTHING
        """;

    private readonly string _select = $"""
        SELECT attempt, kind, at, token, replica, detail FROM {database.Place.Quoted}.run_events
        WHERE group_name = $1 AND run_id = $2 ORDER BY at, attempt, kind
        """;

    public async ValueTask AddAsync(IReadOnlyList<RunEvent> events, CancellationToken cancellationToken)
    {
        LedgerRules.Check(events);
        var rows = events
            .Select(e => (Id: PostgresRunLedger.TryParse(e.RunId), Event: e))
            .Where(e => e.Id is not null)
            .OrderBy(e => e.Id)
            .ToList();
        if (rows.Count == 0)
        {
            return;
        }
        await database.WriteAsync(
            batch =>
                batch
                    .Add(_insert)
                    .Text(group)
                    .Ids([.. rows.Select(e => e.Id!.Value)])
                    .Numbers([.. rows.Select(e => e.Event.Attempt)])
                    .Texts([.. rows.Select(e => RunReader.NameOf(e.Event.Kind))])
                    .TimeList([.. rows.Select(e => (DateTime?)Times.Of(e.Event.At))])
                    .Numbers([.. rows.Select(e => e.Event.Token.Value)])
                    .Texts([.. rows.Select(e => e.Event.Replica)])
                    .Texts([.. rows.Select(e => Texts.Keepable(LedgerRules.DetailOf(e.Event)))]),
            cancellationToken
        );
    }

    public async ValueTask<IReadOnlyList<RunEvent>> ListAsync(string runId, CancellationToken cancellationToken)
    {
        if (PostgresRunLedger.TryParse(runId) is not { } id)
        {
            return [];
        }
        return await database.CallAsync<IReadOnlyList<RunEvent>>(
            batch => batch.Add(_select).Text(group).Id(id),
            async reader =>
            {
                var events = new List<RunEvent>();
                while (await reader.ReadAsync())
                {
                    events.Add(
                        new RunEvent(
                            runId,
                            Kinds[reader.GetString(1)],
                            Times.From(reader.GetDateTime(2)),
                            reader.GetInt32(0),
                            new FencingToken(reader.GetInt64(3)),
                            reader.GetString(4),
                            await reader.IsDBNullAsync(5) ? null : reader.GetString(5)
                        )
                    );
                }
                return events;
            },
            cancellationToken
        );
    }
}
