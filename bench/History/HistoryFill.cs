using System.Data.Common;
using Dapper;
using Microsoft.Data.Sqlite;
using Npgsql;

namespace Scheduler.Bench.History;

/// <summary>
/// Fills a State with a long history, by SQL: one run for each second before now, of 100 jobs in turn, that ended within the second. One
/// in a hundred failed, one in a hundred is overlapped, ten are dead, evenly over the whole time; the others succeeded.
/// </summary>
internal static class HistoryFill
{
    /// <summary>The group of all rows.</summary>
    public const string Group = "bench";

    /// <summary>How many jobs there are: <c>job-0</c> and so on.</summary>
    public const int Jobs = 100;

    /// <summary>How many of the runs are dead.</summary>
    public const int Dead = 10;

    // In parts: a trigger that keeps the new rows of a statement would keep a million.
    private const int Part = 50_000;

    private const string SqliteRuns = """
        WITH RECURSIVE n (i) AS (SELECT @first UNION ALL SELECT i + 1 FROM n WHERE i + 1 < @next)
        INSERT INTO runs (group_name, id, job, trigger_name, kind, scheduled_at, lock_key, state, attempt, token, replica, started_at,
          finished_at, error, created_at)
        SELECT @group, printf('%032x', @count - i), 'job-' || (i % @jobs), 'often', 'scheduled', @now - i * 1000, 'job:job-' || (i % @jobs),
          CASE WHEN i % @dead = @dead - 1 THEN 'dead' WHEN i % 100 = 7 THEN 'failed' WHEN i % 100 = 8 THEN 'overlapped'
            ELSE 'succeeded' END,
          1, @count - i, 'replica-' || (i % 3) || '-0123456789ab', @now - i * 1000, @now - i * 1000 + 500,
          CASE WHEN i % 100 = 7 THEN 'InvalidOperationException: the bank said no' END, @now - i * 1000
        FROM n
        """;

    private const string SqliteAttempts = """
        INSERT INTO run_attempts (group_name, run_id, attempt, token, replica, started_at, ended_at, outcome)
        SELECT group_name, id, 1, token, replica, started_at, finished_at, CASE state WHEN 'failed' THEN 'failed' ELSE 'succeeded' END
        FROM runs
        WHERE group_name = @group AND scheduled_at > @now - @next * 1000 AND scheduled_at <= @now - @first * 1000 AND state <> 'overlapped'
        """;

    private const string PostgresRuns = """
        INSERT INTO scheduler.runs (group_name, id, job, trigger_name, kind, scheduled_at, lock_key, state, attempt, token, replica,
          started_at, finished_at, error, outcome)
        SELECT @group, lpad(to_hex(@count - i), 32, '0')::uuid, 'job-' || (i % @jobs), 'often', 'scheduled', t, 'job:job-' || (i % @jobs),
          CASE WHEN i % @dead = @dead - 1 THEN 'dead' WHEN i % 100 = 7 THEN 'failed' WHEN i % 100 = 8 THEN 'overlapped'
            ELSE 'succeeded' END,
          1, @count - i, 'replica-' || (i % 3) || '-0123456789ab', t, t + interval '500 ms',
          CASE WHEN i % 100 = 7 THEN 'InvalidOperationException: the bank said no' END,
          CASE WHEN i % 100 = 7 THEN 'failed' ELSE 'succeeded' END
        FROM (SELECT i, @time - i * interval '1 second' AS t FROM generate_series(@first, @next - 1) i) n
        """;

    public static async Task RunAsync(string store, string address, int count, DateTimeOffset now)
    {
        for (var first = 0; first < count; first += Part)
        {
            var values = new
            {
                group = Group,
                jobs = Jobs,
                dead = count / Dead,
                count,
                first,
                next = Math.Min(first + Part, count),
                now = now.ToUnixTimeMilliseconds(),
                time = now.UtcDateTime,
            };
            if (store == "sqlite")
            {
                await using var file = new SqliteConnection($"{address};Pooling=False");
                await file.OpenAsync();
                // Only while it is filled: nothing else is in the file.
                await file.ExecuteAsync("PRAGMA synchronous = OFF; PRAGMA cache_size = -200000");
                await using var transaction = await file.BeginTransactionAsync();
                await file.ExecuteAsync(SqliteRuns, values, transaction);
                await file.ExecuteAsync(SqliteAttempts, values, transaction);
                await transaction.CommitAsync();
            }
            else
            {
                await using var server = new NpgsqlConnection(address);
                await server.ExecuteAsync(PostgresRuns, values, commandTimeout: 300);
            }
        }
        await FinishAsync(store, address);
    }

    /// <summary>How many runs there are.</summary>
    public static async Task<long> CountAsync(string store, string address)
    {
        await using DbConnection connection =
            store == "sqlite" ? new SqliteConnection($"{address};Pooling=False") : new NpgsqlConnection(address);
        var table = store == "sqlite" ? "runs" : "scheduler.runs";
        return await connection.ExecuteScalarAsync<long>($"SELECT count(*) FROM {table}", commandTimeout: 300);
    }

    // As the server and the file are some minutes later.
    private static async Task FinishAsync(string store, string address)
    {
        if (store == "sqlite")
        {
            await using var file = new SqliteConnection($"{address};Pooling=False");
            await file.ExecuteAsync("PRAGMA wal_checkpoint(TRUNCATE)");
        }
        else
        {
            await using var server = new NpgsqlConnection(address);
            await server.ExecuteAsync("VACUUM ANALYZE; CHECKPOINT", commandTimeout: 300);
        }
    }
}
