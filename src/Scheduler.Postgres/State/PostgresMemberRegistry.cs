using System.Collections.Concurrent;
using Npgsql;
using Scheduler.Runs;

namespace Scheduler.Postgres.State;

/// <summary>The replicas on PostgreSQL, aged by the server's clock, which all of them share. Thread-safe.</summary>
internal sealed class PostgresMemberRegistry(StateDatabase database, string group, TimeProvider time) : IMemberRegistry
{
    private static readonly TimeSpan Keep = TimeSpan.FromDays(1);

    // Sent by every replica every two seconds, the names of a thousand jobs of fifty members would be most of what State is asked.
    private static readonly TimeSpan JobsStay = TimeSpan.FromSeconds(30);

    private readonly string _table = $"{database.Place.Quoted}.members";
    private readonly ConcurrentDictionary<string, (string[] Jobs, long Since)> _jobs = new(StringComparer.Ordinal);

    private string Write =>
        $"""
            INSERT INTO {_table} AS m (group_name, id, name, started_at, wall_clock, boot_clock_ms, operations_url, jobs, status,
              lock_store, beat_at)
            VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, clock_timestamp())
            ON CONFLICT (group_name, id) DO UPDATE SET name = excluded.name, started_at = excluded.started_at,
              wall_clock = excluded.wall_clock, boot_clock_ms = excluded.boot_clock_ms, operations_url = excluded.operations_url,
              jobs = CASE WHEN m.jobs = excluded.jobs THEN m.jobs ELSE excluded.jobs END, status = excluded.status,
              lock_store = excluded.lock_store, beat_at = excluded.beat_at
            """;

    private string Select => SelectWith("jobs");

    /// <summary>
    /// Writes and lists; the names of the jobs come only from members that are not among those in $11. Its commit does not wait for the
    /// disk: after a crash of the server all members write again, and the answer's time is the less blurred the sooner it comes.
    /// </summary>
    private string WriteAndSelect =>
        $"WITH beat AS ({Write}) "
        + SelectWith("CASE WHEN id = ANY ($11) THEN NULL ELSE jobs END", ", set_config('synchronous_commit', 'off', true) AS commit");

    public ValueTask HeartbeatAsync(MemberRecord member, CancellationToken cancellationToken)
    {
        ArgumentNullException.ThrowIfNull(member);
        return database.WriteAsync(batch => Give(batch.Add(Write), member), cancellationToken);
    }

    public ValueTask<MemberList> HeartbeatAndListAsync(MemberRecord member, TimeSpan maxAge, CancellationToken cancellationToken)
    {
        ArgumentNullException.ThrowIfNull(member);
        string[] known = [.. _jobs.Where(j => time.GetElapsedTime(j.Value.Since) < JobsStay).Select(j => j.Key)];
        return ListAsync(batch => Give(batch.Add(WriteAndSelect), member).Texts(known), maxAge, cancellationToken);
    }

    public ValueTask LeaveAsync(string id, CancellationToken cancellationToken) =>
        database.WriteAsync(
            batch => batch.Add($"DELETE FROM {_table} WHERE group_name = $1 AND id = $2").Text(group).Text(id),
            cancellationToken
        );

    public ValueTask<MemberList> ListAsync(TimeSpan maxAge, CancellationToken cancellationToken) =>
        ListAsync(batch => batch.Add(Select).Text(group), maxAge, cancellationToken);

    private async ValueTask<MemberList> ListAsync(Action<NpgsqlBatch> fill, TimeSpan maxAge, CancellationToken cancellationToken)
    {
        var (members, now, pauses, paired) = await database.CallAsync(fill, ReadAsync, cancellationToken);
        foreach (var gone in _jobs.Keys.Except(members.Select(m => m.Id), StringComparer.Ordinal))
        {
            _jobs.TryRemove(gone, out _);
        }
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
        return new MemberList([.. members.Where(member => member.Age < maxAge)], now)
        {
            Pauses = pauses,
            LockStore = paired,
            HasClock = true,
        };
    }

    private async Task<(List<MemberRecord> Members, DateTimeOffset Now, IReadOnlyList<JobPause> Pauses, string? Paired)> ReadAsync(
        NpgsqlDataReader reader
    )
    {
        var rows = new List<MemberRecord>();
        var clock = default(DateTimeOffset);
        IReadOnlyList<JobPause> pauses = [];
        string? paired = null;
        while (await reader.ReadAsync())
        {
            if (rows.Count == 0)
            {
                clock = Times.From(reader.GetDateTime(9));
                pauses = await reader.IsDBNullAsync(10) ? [] : PostgresJobPauses.Read(reader.GetString(10));
                paired = await reader.IsDBNullAsync(11) ? null : reader.GetString(11);
            }
            // One row without a member in an empty group.
            if (await reader.IsDBNullAsync(0))
            {
                continue;
            }
            var id = reader.GetString(0);
            rows.Add(
                new MemberRecord
                {
                    Id = id,
                    Name = reader.GetString(1),
                    StartedAt = Times.From(reader.GetDateTime(2)),
                    WallClock = Times.From(reader.GetDateTime(3)),
                    BootClock = TimeSpan.FromMilliseconds(reader.GetInt64(4)),
                    OperationsUrl = await reader.IsDBNullAsync(5) ? null : reader.GetString(5),
                    Jobs = JobsOf(id, await reader.IsDBNullAsync(6) ? null : reader.GetFieldValue<string[]>(6)),
                    Status = reader.GetString(7),
                    Age = reader.GetTimeSpan(8),
                    LockStore = await reader.IsDBNullAsync(12) ? null : reader.GetString(12),
                }
            );
        }
        return (rows, clock, pauses, paired);
    }

    // The same array again while it says the same, so that whoever keeps something made of it need not make it anew.
    private string[] JobsOf(string id, string[]? read)
    {
        var known = _jobs.TryGetValue(id, out var entry) ? entry.Jobs : null;
        if (read is null)
        {
            return known ?? [];
        }
        var jobs = known is not null && known.AsSpan().SequenceEqual(read) ? known : read;
        _jobs[id] = (jobs, time.GetTimestamp());
        return jobs;
    }

    private string SelectWith(string jobs, string more = "") =>
        $"""
            SELECT id, name, started_at, wall_clock, boot_clock_ms, operations_url, {jobs}, status,
              greatest(c.now - beat_at, interval '0'), c.now, c.pauses, c.paired, lock_store
            FROM (
              SELECT clock_timestamp() AS now, (SELECT json_agg(json_build_array(p.job, p.since, p.until))::text
                FROM {database.Place.Quoted}.job_pauses p WHERE p.group_name = $1) AS pauses,
                (SELECT l.id FROM {database.Place.Quoted}.lock_store l WHERE l.group_name = $1) AS paired{more}) c
            LEFT JOIN {_table} ON group_name = $1 ORDER BY id
            """;

    private NpgsqlParameterCollection Give(NpgsqlParameterCollection parameters, MemberRecord member) =>
        parameters
            .Text(group)
            .Text(member.Id)
            .Text(member.Name)
            .Time(member.StartedAt)
            .Time(member.WallClock)
            .Number((long)member.BootClock.TotalMilliseconds)
            .Text(member.OperationsUrl)
            .Texts([.. member.Jobs])
            .Text(member.Status)
            .Text(member.LockStore);
}
