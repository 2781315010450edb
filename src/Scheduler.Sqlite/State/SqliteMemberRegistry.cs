using System.Collections.Concurrent;
using System.Text.Json;
using Dapper;
using Scheduler.Runs;

namespace Scheduler.Sqlite.State;

/// <summary>The replicas on SQLite, aged by the boot clock of the one host that they share. Thread-safe.</summary>
internal sealed class SqliteMemberRegistry(StateDatabase database, string group, TimeProvider time) : IMemberRegistry
{
    private const string BootIdFile = "/proc/sys/kernel/random/boot_id";
    private static readonly TimeSpan Keep = TimeSpan.FromDays(1);

    /// <summary>Of the host's boot; members of an earlier one are gone.</summary>
    public static readonly string BootId = File.Exists(BootIdFile) ? File.ReadAllText(BootIdFile).Trim() : "";

    private const string Write = """
        INSERT INTO members (group_name, id, name, started_at, wall_clock, boot_clock, operations_url, jobs, status, lock_store,
          boot_id, beat_at)
        VALUES (@group, @id, @name, @startedAt, @wallClock, @bootClock, @operationsUrl, @jobs, @status, @lockStore, @bootId, @beatAt)
        ON CONFLICT (group_name, id) DO UPDATE SET name = excluded.name, started_at = excluded.started_at,
          wall_clock = excluded.wall_clock, boot_clock = excluded.boot_clock, operations_url = excluded.operations_url,
          jobs = excluded.jobs, status = excluded.status, lock_store = excluded.lock_store, boot_id = excluded.boot_id,
          beat_at = excluded.beat_at
        """;

    private const string Select = """
        SELECT id AS Id, name AS Name, started_at AS StartedAt, wall_clock AS WallClock, boot_clock AS BootClock,
          operations_url AS OperationsUrl, jobs AS Jobs, status AS Status, lock_store AS LockStore, boot_id AS BootId, beat_at AS BeatAt
        FROM members WHERE group_name = @group ORDER BY id
        """;

    private const string Sweep = "DELETE FROM members WHERE group_name = @group AND (boot_id <> @bootId OR beat_at < @oldest)";

    // By id: all members read their jobs every two seconds, and they hardly ever change.
    private readonly ConcurrentDictionary<string, (string Json, string[] Jobs)> _jobs = new(StringComparer.Ordinal);

    private long Clock => (long)time.GetElapsedTime(0).TotalMilliseconds;

    public async ValueTask HeartbeatAsync(MemberRecord member, CancellationToken cancellationToken)
    {
        ArgumentNullException.ThrowIfNull(member);
        await database.WriteAsync(
            connection =>
                connection.Execute(
                    Write,
                    new
                    {
                        group,
                        id = member.Id,
                        name = member.Name,
                        startedAt = Times.Of(member.StartedAt),
                        wallClock = Times.Of(member.WallClock),
                        bootClock = (long)member.BootClock.TotalMilliseconds,
                        operationsUrl = member.OperationsUrl,
                        jobs = JsonSerializer.Serialize(member.Jobs),
                        status = member.Status,
                        lockStore = member.LockStore,
                        bootId = BootId,
                        beatAt = Clock,
                    }
                ),
            cancellationToken
        );
    }

    public async ValueTask<MemberList> HeartbeatAndListAsync(MemberRecord member, TimeSpan maxAge, CancellationToken cancellationToken)
    {
        await HeartbeatAsync(member, cancellationToken);
        return await ListAsync(maxAge, cancellationToken);
    }

    public async ValueTask LeaveAsync(string id, CancellationToken cancellationToken) =>
        await database.WriteAsync(
            connection => connection.Execute("DELETE FROM members WHERE group_name = @group AND id = @id", new { group, id }),
            cancellationToken
        );

    public async ValueTask<MemberList> ListAsync(TimeSpan maxAge, CancellationToken cancellationToken)
    {
        // Before the reading: what it says of pauses holds at this time.
        var wall = time.GetUtcNow();
        var (rows, pauses, paired) = await database.ReadAsync(
            connection =>
                (
                    connection.Query<Row>(Select, new { group }).AsList(),
                    SqliteJobPauses.List(connection, group),
                    SqlitePairLedger.Recall(connection, group)
                ),
            cancellationToken
        );
        var now = Clock;
        var oldest = now - (long)Keep.TotalMilliseconds;
        if (rows.Exists(row => row.BootId != BootId || row.BeatAt < oldest))
        {
            await database.WriteAsync(
                connection =>
                    connection.Execute(
                        Sweep,
                        new
                        {
                            group,
                            bootId = BootId,
                            oldest,
                        }
                    ),
                cancellationToken
            );
        }
        foreach (var gone in _jobs.Keys.Except(rows.Select(row => row.Id), StringComparer.Ordinal))
        {
            _jobs.TryRemove(gone, out _);
        }
        return new MemberList(
            [.. rows.Where(row => row.BootId == BootId).Select(row => row.ToRecord(now, JobsOf(row))).Where(member => member.Age < maxAge)],
            wall
        )
        {
            Pauses = pauses,
            LockStore = paired,
        };
    }

    private string[] JobsOf(Row row)
    {
        if (_jobs.TryGetValue(row.Id, out var known) && known.Json == row.Jobs)
        {
            return known.Jobs;
        }
        var jobs = JsonSerializer.Deserialize<string[]>(row.Jobs) ?? [];
        _jobs[row.Id] = (row.Jobs, jobs);
        return jobs;
    }

    private sealed class Row
    {
        public string Id { get; set; } = "";
        public string Name { get; set; } = "";
        public long StartedAt { get; set; }
        public long WallClock { get; set; }
        public long BootClock { get; set; }
        public string? OperationsUrl { get; set; }
        public string Jobs { get; set; } = "[]";
        public string Status { get; set; } = "";
        public string? LockStore { get; set; }
        public string BootId { get; set; } = "";
        public long BeatAt { get; set; }

        public MemberRecord ToRecord(long now, string[] jobs) =>
            new()
            {
                Id = Id,
                Name = Name,
                StartedAt = Times.From(StartedAt),
                WallClock = Times.From(WallClock),
                BootClock = TimeSpan.FromMilliseconds(BootClock),
                OperationsUrl = OperationsUrl,
                Jobs = jobs,
                Status = Status,
                LockStore = LockStore,
                // A beat may come between the reading and the look at the clock.
                Age = TimeSpan.FromMilliseconds(Math.Max(0, now - BeatAt)),
            };
    }
}
