using Dapper;
using Microsoft.Data.Sqlite;
using Scheduler.Runs;

namespace Scheduler.Sqlite.State;

/// <summary>The schedules on SQLite. Thread-safe.</summary>
internal sealed class SqliteScheduleLedger(StateDatabase database, string group, TimeProvider time) : IScheduleLedger
{
    private const string Living = "m.group_name = @group AND m.status = 'running' AND m.boot_id = @bootId AND m.beat_at > @alive";

    private const string Holders = $"""
        SELECT 1 FROM schedule_sets d
          JOIN schedule_holders h ON h.group_name = @group AND h.set_id = d.set_id
          JOIN members m ON m.id = h.replica AND {Living}
        WHERE d.group_name = @group AND d.job = @job AND d.trigger_name = @trigger
        """;

    private const string Insert = $"""
        INSERT INTO schedules (group_name, job, trigger_name, fingerprint, since, settled_until)
        SELECT @group, @job, @trigger, @fingerprint, begin, begin
        FROM (SELECT iif(EXISTS ({Holders} AND d.fingerprint <> @fingerprint), @later, @now) AS begin) WHERE true
        ON CONFLICT DO NOTHING
        """;

    // A definition that comes back after another one was in use: rows behind the newest one's bound may have been pruned.
    private const string Return = $"""
        UPDATE schedules SET since = @now, settled_until = max(settled_until, @now)
        WHERE group_name = @group AND job = @job AND trigger_name = @trigger AND fingerprint = @fingerprint
          AND EXISTS (SELECT 1 FROM schedules n WHERE n.group_name = @group AND n.job = @job AND n.trigger_name = @trigger
            AND (n.since, n.rowid) > (schedules.since, schedules.rowid))
          AND NOT EXISTS (SELECT 1 FROM schedules n WHERE n.group_name = @group AND n.job = @job AND n.trigger_name = @trigger
            AND (n.since, n.rowid) > (schedules.since, schedules.rowid) AND EXISTS ({Holders} AND d.fingerprint = n.fingerprint))
        """;

    private const string InsertOfSet = """
        INSERT INTO schedule_sets (group_name, job, trigger_name, set_id, fingerprint) VALUES (@group, @job, @trigger, @set, @fingerprint)
        ON CONFLICT DO NOTHING
        """;

    private const string Hold = """
        INSERT INTO schedule_holders (group_name, replica, set_id, held_at) VALUES (@group, @replica, @set, @now)
        ON CONFLICT (group_name, replica) DO UPDATE SET set_id = excluded.set_id, held_at = excluded.held_at
        """;

    private const string Forget = """
        DELETE FROM schedule_holders WHERE group_name = @group AND held_at < @old
          AND replica NOT IN (SELECT id FROM members WHERE group_name = @group);
        DELETE FROM schedule_sets WHERE group_name = @group
          AND set_id NOT IN (SELECT set_id FROM schedule_holders WHERE group_name = @group);
        """;

    private const string Contested = $"""
        WITH held AS (
          SELECT DISTINCT d.job, d.trigger_name, d.fingerprint FROM schedule_sets d WHERE d.group_name = @group AND d.set_id IN (
            SELECT h.set_id FROM schedule_holders h JOIN members m ON m.id = h.replica AND {Living} WHERE h.group_name = @group))
        SELECT s.job AS Job, s.trigger_name AS TriggerName, s.fingerprint AS Fingerprint, s.since AS Since, s.settled_until AS SettledUntil
        FROM schedules s JOIN held USING (job, trigger_name, fingerprint)
        WHERE s.group_name = @group AND EXISTS (
          SELECT 1 FROM held o WHERE o.job = s.job AND o.trigger_name = s.trigger_name AND o.fingerprint <> s.fingerprint)
        ORDER BY s.job, s.trigger_name, s.since, s.rowid
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

    public async ValueTask HoldAsync(
        string replica,
        IReadOnlyList<ScheduleKey> definitions,
        DateTimeOffset now,
        CancellationToken cancellationToken
    )
    {
        var set = new ScheduleSet(definitions);
        // The holder first: what nobody holds is forgotten.
        var values = new
        {
            group,
            replica,
            set = set.Id,
            now = Times.Of(now),
            old = Times.Of(now - ScheduleSet.Kept),
        };
        await database.WriteAsync(
            connection =>
            {
                connection.Execute(Hold, values);
                return connection.Execute(Forget, values);
            },
            cancellationToken
        );
        foreach (var chunk in set.Definitions.Chunk(IScheduleLedger.MaxBatch))
        {
            var rows = chunk.Select(d => new
            {
                group,
                job = d.Job,
                trigger = d.Trigger,
                set = set.Id,
                fingerprint = d.Fingerprint,
            });
            await database.WriteAsync(connection => connection.Execute(InsertOfSet, rows), cancellationToken);
        }
    }

    public ValueTask<IReadOnlyList<ScheduleRecord>> ContestedAsync(CancellationToken cancellationToken)
    {
        var values = new
        {
            group,
            bootId = SqliteMemberRegistry.BootId,
            alive = Alive,
        };
        return database.ReadAsync<IReadOnlyList<ScheduleRecord>>(
            connection => [.. connection.Query<Row>(Contested, values).Select(row => row.ToRecord())],
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

    // By the boot clock, as the members' heartbeats are.
    private long Alive => (long)(time.GetElapsedTime(0) - ScheduleSet.HolderLife).TotalMilliseconds;

    private ScheduleRecord Observe(SqliteConnection connection, ScheduleKey definition, DateTimeOffset now)
    {
        var values = new
        {
            group,
            job = definition.Job,
            trigger = definition.Trigger,
            fingerprint = definition.Fingerprint,
            now = Times.Of(now),
            later = Times.Of(now + ScheduleSet.Announcement),
            bootId = SqliteMemberRegistry.BootId,
            alive = Alive,
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
