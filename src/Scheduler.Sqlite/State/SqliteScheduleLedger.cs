using Dapper;
using Microsoft.Data.Sqlite;
using Scheduler.Runs;

namespace Scheduler.Sqlite.State;

/// <summary>The schedules on SQLite. Thread-safe.</summary>
internal sealed class SqliteScheduleLedger(StateDatabase database, string group) : IScheduleLedger
{
    private const string Insert = """
        INSERT INTO schedules (group_name, job, trigger_name, fingerprint, since, settled_until)
        VALUES (@group, @job, @trigger, @fingerprint, @now, @now) ON CONFLICT DO NOTHING
        """;

    // A definition that comes back after another one was in use: rows behind the newest one's bound may have been pruned.
    private const string Return = """
        UPDATE schedules SET since = @now, settled_until = max(settled_until, @now)
        WHERE group_name = @group AND job = @job AND trigger_name = @trigger AND fingerprint = @fingerprint
          AND EXISTS (SELECT 1 FROM schedules n WHERE n.group_name = @group AND n.job = @job AND n.trigger_name = @trigger
            AND (n.since, n.rowid) > (schedules.since, schedules.rowid))
        """;

    private const string Select = """
        SELECT job AS Job, trigger_name AS TriggerName, fingerprint AS Fingerprint, since AS Since, settled_until AS SettledUntil
        FROM schedules WHERE group_name = @group
        """;

    private const string One = " AND job = @job AND trigger_name = @trigger AND fingerprint = @fingerprint";

    private const string Settle = """
        UPDATE schedules SET settled_until = @until
        WHERE group_name = @group AND job = @job AND trigger_name = @trigger AND fingerprint = @fingerprint AND settled_until < @until
        """;

    public ValueTask<IReadOnlyList<ScheduleRecord>> ObserveAsync(
        IReadOnlyList<ScheduleKey> definitions,
        DateTimeOffset now,
        CancellationToken cancellationToken
    )
    {
        LedgerRules.CheckBatch(definitions, IScheduleLedger.MaxBatch);
        return database.WriteAsync<IReadOnlyList<ScheduleRecord>>(
            connection => [.. definitions.Select(definition => Observe(connection, definition, now))],
            cancellationToken
        );
    }

    public async ValueTask SettleAsync(IReadOnlyList<SettledSchedule> settled, CancellationToken cancellationToken)
    {
        LedgerRules.CheckBatch(settled, IScheduleLedger.MaxBatch);
        var rows = settled.Select(bound => new
        {
            group,
            job = bound.Definition.Job,
            trigger = bound.Definition.Trigger,
            fingerprint = bound.Definition.Fingerprint,
            until = Times.Of(bound.Until),
        });
        await database.WriteAsync(connection => connection.Execute(Settle, rows), cancellationToken);
    }

    public ValueTask<IReadOnlyList<ScheduleRecord>> ListAsync(CancellationToken cancellationToken) =>
        database.ReadAsync<IReadOnlyList<ScheduleRecord>>(
            connection =>
                [
                    .. connection
                        .Query<Row>(Select + " ORDER BY job, trigger_name, since, rowid", new { group })
                        .Select(row => row.ToRecord()),
                ],
            cancellationToken
        );

    private ScheduleRecord Observe(SqliteConnection connection, ScheduleKey definition, DateTimeOffset now)
    {
        var values = new
        {
            group,
            job = definition.Job,
            trigger = definition.Trigger,
            fingerprint = definition.Fingerprint,
            now = Times.Of(now),
        };
        if (connection.Execute(Insert, values) == 0)
        {
            connection.Execute(Return, values);
        }
        return connection.QuerySingle<Row>(Select + One, values).ToRecord();
    }

    private sealed class Row
    {
        public string Job { get; set; } = "";
        public string TriggerName { get; set; } = "";
        public string Fingerprint { get; set; } = "";
        public long Since { get; set; }
        public long SettledUntil { get; set; }

        public ScheduleRecord ToRecord() => new(Job, TriggerName, Fingerprint, Times.From(Since), Times.From(SettledUntil));
    }
}
