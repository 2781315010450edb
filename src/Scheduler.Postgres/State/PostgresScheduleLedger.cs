using Npgsql;
using Scheduler.Runs;

namespace Scheduler.Postgres.State;

/// <summary>The schedules on PostgreSQL. Thread-safe.</summary>
internal sealed class PostgresScheduleLedger(StateDatabase database, string group) : IScheduleLedger
{
    private const string This = "group_name = $1 AND job = $2 AND trigger_name = $3 AND fingerprint = $4";

    private readonly string _table = $"{database.Place.Quoted}.schedules";

    private string Insert =>
        $"""
            INSERT INTO {_table} (group_name, job, trigger_name, fingerprint, since, settled_until)
            VALUES ($1, $2, $3, $4, $5, $5) ON CONFLICT DO NOTHING
            """;

    // A definition that comes back after another one was in use: rows behind the newest one's bound may have been pruned.
    private string Return =>
        $"""
            UPDATE {_table} AS s SET since = $5, settled_until = greatest(s.settled_until, $5)
            WHERE {This} AND EXISTS (SELECT 1 FROM {_table} n WHERE n.group_name = $1 AND n.job = $2 AND n.trigger_name = $3
              AND (n.since, n.seq) > (s.since, s.seq))
            """;

    private string Select => $"SELECT job, trigger_name, fingerprint, since, settled_until FROM {_table} WHERE group_name = $1";

    public ValueTask<ScheduleRecord> ObserveAsync(
        string job,
        string trigger,
        string fingerprint,
        DateTimeOffset now,
        CancellationToken cancellationToken
    ) =>
        database.CallAsync(
            batch =>
            {
                batch.Add(Insert).Text(group).Text(job).Text(trigger).Text(fingerprint).Time(now);
                batch.Add(Return).Text(group).Text(job).Text(trigger).Text(fingerprint).Time(now);
                batch
                    .Add($"{Select} AND job = $2 AND trigger_name = $3 AND fingerprint = $4")
                    .Text(group)
                    .Text(job)
                    .Text(trigger)
                    .Text(fingerprint);
            },
            static async reader =>
            {
                await reader.ReadAsync();
                return Read(reader);
            },
            cancellationToken
        );

    public ValueTask SettleAsync(
        string job,
        string trigger,
        string fingerprint,
        DateTimeOffset until,
        CancellationToken cancellationToken
    ) =>
        database.WriteAsync(
            batch =>
                batch
                    .Add($"UPDATE {_table} SET settled_until = $5 WHERE {This} AND settled_until < $5")
                    .Text(group)
                    .Text(job)
                    .Text(trigger)
                    .Text(fingerprint)
                    .Time(until),
            cancellationToken
        );

    public async ValueTask<IReadOnlyList<ScheduleRecord>> ListAsync(CancellationToken cancellationToken) =>
        await database.CallAsync(
            batch => batch.Add($"{Select} ORDER BY job, trigger_name, since, seq").Text(group),
            static async reader =>
            {
                var rows = new List<ScheduleRecord>();
                while (await reader.ReadAsync())
                {
                    rows.Add(Read(reader));
                }
                return rows;
            },
            cancellationToken
        );

    private static ScheduleRecord Read(NpgsqlDataReader reader) =>
        new(
            reader.GetString(0),
            reader.GetString(1),
            reader.GetString(2),
            Times.From(reader.GetDateTime(3)),
            Times.From(reader.GetDateTime(4))
        );
}
