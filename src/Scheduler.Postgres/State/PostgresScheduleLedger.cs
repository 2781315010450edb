using Npgsql;
using Scheduler.Runs;

namespace Scheduler.Postgres.State;

/// <summary>The schedules on PostgreSQL. Thread-safe.</summary>
internal sealed class PostgresScheduleLedger(StateDatabase database, string group) : IScheduleLedger
{
    private const string Given = "unnest($2, $3, $4) WITH ORDINALITY AS q (job, trigger_name, fingerprint, n)";
    private const string IsGiven =
        "s.group_name = $1 AND s.job = q.job AND s.trigger_name = q.trigger_name AND s.fingerprint = q.fingerprint";

    private readonly string _table = $"{database.Place.Quoted}.schedules";

    private string Schema => database.Place.Quoted;

    private static string Living =>
        "m.group_name = $1 AND m.status = 'running' "
        + $"AND m.beat_at > clock_timestamp() - interval '{(int)ScheduleSet.HolderLife.TotalSeconds} s'";

    private string Holders(string definition) =>
        $"""
            SELECT 1 FROM {Schema}.schedule_sets d
              JOIN {Schema}.schedule_holders h ON h.group_name = $1 AND h.set_id = d.set_id
              JOIN {Schema}.members m ON m.id = h.replica AND {Living}
            WHERE d.group_name = $1 AND d.job = {definition}.job AND d.trigger_name = {definition}.trigger_name
            """;

    private string Insert =>
        $"""
            INSERT INTO {_table} (group_name, job, trigger_name, fingerprint, since, settled_until)
            SELECT $1, q.job, q.trigger_name, q.fingerprint, b.begin, b.begin FROM {Given}
              CROSS JOIN LATERAL (
                SELECT CASE WHEN EXISTS ({Holders("q")} AND d.fingerprint <> q.fingerprint) THEN $6 ELSE $5 END AS begin) b
            ORDER BY q.n ON CONFLICT DO NOTHING
            """;

    // A definition that comes back after another one was in use: rows behind the newest one's bound may have been pruned.
    // Rows are locked in one order, so that replicas that report the same at once do not wait for each other in a circle.
    private string Return =>
        $"""
            WITH q AS (
              SELECT s.job, s.trigger_name, s.fingerprint FROM {Given} JOIN {_table} s ON {IsGiven}
              WHERE EXISTS (SELECT 1 FROM {_table} n WHERE n.group_name = $1 AND n.job = s.job AND n.trigger_name = s.trigger_name
                AND (n.since, n.seq) > (s.since, s.seq))
              AND NOT EXISTS (SELECT 1 FROM {_table} n WHERE n.group_name = $1 AND n.job = s.job AND n.trigger_name = s.trigger_name
                AND (n.since, n.seq) > (s.since, s.seq) AND EXISTS ({Holders("n")} AND d.fingerprint = n.fingerprint))
              ORDER BY s.job, s.trigger_name, s.fingerprint FOR UPDATE OF s)
            UPDATE {_table} AS s SET since = $5, settled_until = greatest(s.settled_until, $5) FROM q WHERE {IsGiven}
            """;

    private string InsertOfSet =>
        $"""
            INSERT INTO {Schema}.schedule_sets (group_name, job, trigger_name, set_id, fingerprint)
            SELECT $1, q.job, q.trigger_name, $5, q.fingerprint FROM {Given} ORDER BY q.n ON CONFLICT DO NOTHING
            """;

    private string Hold =>
        $"""
            INSERT INTO {Schema}.schedule_holders (group_name, replica, set_id, held_at) VALUES ($1, $2, $3, $4)
            ON CONFLICT (group_name, replica) DO UPDATE SET set_id = excluded.set_id, held_at = excluded.held_at
            """;

    private string ForgetHolders =>
        $"""
            DELETE FROM {Schema}.schedule_holders WHERE group_name = $1 AND held_at < $2
              AND replica NOT IN (SELECT id FROM {Schema}.members WHERE group_name = $1)
            """;

    private string ForgetSets =>
        $"""
            DELETE FROM {Schema}.schedule_sets WHERE group_name = $1
              AND set_id NOT IN (SELECT set_id FROM {Schema}.schedule_holders WHERE group_name = $1)
            """;

    private string Contested =>
        $"""
            WITH held AS (
              SELECT DISTINCT d.job, d.trigger_name, d.fingerprint FROM {Schema}.schedule_sets d
              WHERE d.group_name = $1 AND d.set_id IN (
                SELECT h.set_id FROM {Schema}.schedule_holders h JOIN {Schema}.members m ON m.id = h.replica AND {Living}
                WHERE h.group_name = $1))
            SELECT s.job, s.trigger_name, s.fingerprint, s.since, s.settled_until
            FROM {_table} s JOIN held USING (job, trigger_name, fingerprint)
            WHERE s.group_name = $1 AND EXISTS (
              SELECT 1 FROM held o WHERE o.job = s.job AND o.trigger_name = s.trigger_name AND o.fingerprint <> s.fingerprint)
            ORDER BY s.job, s.trigger_name, s.since, s.seq
            """;

    private string Show =>
        $"""
            SELECT s.job, s.trigger_name, s.fingerprint, s.since, s.settled_until FROM {Given} JOIN {_table} s ON {IsGiven} ORDER BY q.n
            """;

    private string Settle =>
        $"""
            WITH q AS (
              SELECT s.job, s.trigger_name, s.fingerprint, q.until
              FROM unnest($2, $3, $4, $5) AS q (job, trigger_name, fingerprint, until) JOIN {_table} s ON {IsGiven}
              WHERE s.settled_until < q.until ORDER BY s.job, s.trigger_name, s.fingerprint FOR UPDATE OF s)
            UPDATE {_table} AS s SET settled_until = q.until FROM q WHERE {IsGiven} AND s.settled_until < q.until
            """;

    private string Select => $"SELECT job, trigger_name, fingerprint, since, settled_until FROM {_table} WHERE group_name = $1";

    public async ValueTask<IReadOnlyList<ScheduleRecord>> ObserveAsync(
        IReadOnlyList<ScheduleKey> definitions,
        DateTimeOffset now,
        CancellationToken cancellationToken
    )
    {
        LedgerRules.CheckBatch(definitions, IScheduleLedger.MaxBatch);
        ScheduleKey[] ordered =
        [
            .. definitions
                .OrderBy(d => d.Job, StringComparer.Ordinal)
                .ThenBy(d => d.Trigger, StringComparer.Ordinal)
                .ThenBy(d => d.Fingerprint, StringComparer.Ordinal),
        ];
        var records = await database.CallAsync(
            batch =>
            {
                Give(batch.Add(Insert), ordered).Time(now).Time(now + ScheduleSet.Announcement);
                Give(batch.Add(Return), ordered).Time(now);
                Give(batch.Add(Show), ordered);
            },
            ReadAsync,
            cancellationToken
        );
        var byKey = records.ToDictionary(r => new ScheduleKey(r.Job, r.Trigger, r.Fingerprint));
        return [.. definitions.Select(d => byKey[d])];
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
        await database.WriteAsync(
            batch =>
            {
                batch.Add(Hold).Text(group).Text(replica).Text(set.Id).Time(now);
                batch.Add(ForgetHolders).Text(group).Time(now - ScheduleSet.Kept);
                batch.Add(ForgetSets).Text(group);
            },
            cancellationToken
        );
        foreach (var chunk in set.Definitions.Chunk(IScheduleLedger.MaxBatch))
        {
            await database.WriteAsync(batch => Give(batch.Add(InsertOfSet), chunk).Text(set.Id), cancellationToken);
        }
    }

    public async ValueTask<IReadOnlyList<ScheduleRecord>> ContestedAsync(CancellationToken cancellationToken) =>
        await database.CallAsync(batch => batch.Add(Contested).Text(group), ReadAsync, cancellationToken);

    public async ValueTask SettleAsync(IReadOnlyList<SettledSchedule> settled, CancellationToken cancellationToken)
    {
        LedgerRules.CheckBatch(settled, IScheduleLedger.MaxBatch);
        await database.WriteAsync(
            batch =>
                Give(batch.Add(Settle), [.. settled.Select(s => s.Definition)])
                    .TimeList([.. settled.Select(s => (DateTime?)Times.Of(s.Until))]),
            cancellationToken
        );
    }

    public async ValueTask<IReadOnlyList<ScheduleRecord>> ListAsync(CancellationToken cancellationToken) =>
        await database.CallAsync(
            batch => batch.Add($"{Select} ORDER BY job, trigger_name, since, seq").Text(group),
            ReadAsync,
            cancellationToken
        );

    private NpgsqlParameterCollection Give(NpgsqlParameterCollection parameters, ScheduleKey[] definitions) =>
        parameters
            .Text(group)
            .Texts([.. definitions.Select(d => d.Job)])
            .Texts([.. definitions.Select(d => d.Trigger)])
            .Texts([.. definitions.Select(d => d.Fingerprint)]);

    private static async Task<List<ScheduleRecord>> ReadAsync(NpgsqlDataReader reader)
    {
        var rows = new List<ScheduleRecord>();
        while (await reader.ReadAsync())
        {
            rows.Add(
                new ScheduleRecord(
                    reader.GetString(0),
                    reader.GetString(1),
                    reader.GetString(2),
                    Times.From(reader.GetDateTime(3)),
                    Times.From(reader.GetDateTime(4))
                )
            );
        }
        return rows;
    }
}
