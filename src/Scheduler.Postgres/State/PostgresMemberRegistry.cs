using Scheduler.Runs;

namespace Scheduler.Postgres.State;

/// <summary>The replicas on PostgreSQL, aged by the server's clock, which all of them share. Thread-safe.</summary>
internal sealed class PostgresMemberRegistry(StateDatabase database, string group) : IMemberRegistry
{
    private static readonly TimeSpan Keep = TimeSpan.FromDays(1);

    private readonly string _table = $"{database.Place.Quoted}.members";

    private string Write =>
        $"""
            INSERT INTO {_table} (group_name, id, name, started_at, wall_clock, boot_clock_ms, operations_url, jobs, status, beat_at)
            VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, clock_timestamp())
            ON CONFLICT (group_name, id) DO UPDATE SET name = excluded.name, started_at = excluded.started_at,
              wall_clock = excluded.wall_clock, boot_clock_ms = excluded.boot_clock_ms, operations_url = excluded.operations_url,
              jobs = excluded.jobs, status = excluded.status, beat_at = excluded.beat_at
            """;

    private string Select =>
        $"""
            SELECT id, name, started_at, wall_clock, boot_clock_ms, operations_url, jobs, status,
              greatest(c.now - beat_at, interval '0'), c.now
            FROM (SELECT clock_timestamp() AS now) c LEFT JOIN {_table} ON group_name = $1 ORDER BY id
            """;

    public ValueTask HeartbeatAsync(MemberRecord member, CancellationToken cancellationToken)
    {
        ArgumentNullException.ThrowIfNull(member);
        return database.WriteAsync(
            batch =>
                batch
                    .Add(Write)
                    .Text(group)
                    .Text(member.Id)
                    .Text(member.Name)
                    .Time(member.StartedAt)
                    .Time(member.WallClock)
                    .Number((long)member.BootClock.TotalMilliseconds)
                    .Text(member.OperationsUrl)
                    .Texts([.. member.Jobs])
                    .Text(member.Status),
            cancellationToken
        );
    }

    public ValueTask LeaveAsync(string id, CancellationToken cancellationToken) =>
        database.WriteAsync(
            batch => batch.Add($"DELETE FROM {_table} WHERE group_name = $1 AND id = $2").Text(group).Text(id),
            cancellationToken
        );

    public async ValueTask<MemberList> ListAsync(TimeSpan maxAge, CancellationToken cancellationToken)
    {
        var (members, now) = await database.CallAsync(
            batch => batch.Add(Select).Text(group),
            static async reader =>
            {
                var rows = new List<MemberRecord>();
                var clock = default(DateTimeOffset);
                while (await reader.ReadAsync())
                {
                    clock = Times.From(reader.GetDateTime(9));
                    // One row without a member in an empty group.
                    if (await reader.IsDBNullAsync(0))
                    {
                        continue;
                    }
                    rows.Add(
                        new MemberRecord
                        {
                            Id = reader.GetString(0),
                            Name = reader.GetString(1),
                            StartedAt = Times.From(reader.GetDateTime(2)),
                            WallClock = Times.From(reader.GetDateTime(3)),
                            BootClock = TimeSpan.FromMilliseconds(reader.GetInt64(4)),
                            OperationsUrl = await reader.IsDBNullAsync(5) ? null : reader.GetString(5),
                            Jobs = await reader.GetFieldValueAsync<string[]>(6),
                            Status = reader.GetString(7),
                            Age = reader.GetTimeSpan(8),
                        }
                    );
                }
                return (rows, clock);
            },
            cancellationToken
        );
        if (members.Exists(member => member.Age > Keep))
        {
            await database.WriteAsync(
                batch =>
                    batch
                        .Add($"DELETE FROM {_table} WHERE group_name = $1 AND beat_at < clock_timestamp() - $2")
                        .Text(group)
                        .Interval(Keep),
                cancellationToken
            );
        }
        return new MemberList([.. members.Where(member => member.Age < maxAge)], now) { HasClock = true };
    }
}
