using System.Collections.Concurrent;
using System.Globalization;
using Scheduler.Bench.Harness;
using Scheduler.Testing.Servers;

namespace Scheduler.Bench.Fires;

/// <summary>One Redis and one PostgreSQL for the whole run, and what they were asked.</summary>
internal sealed class FireServers : IAsyncDisposable
{
    private readonly RedisServer _redis;
    private readonly PostgresServer _postgres;
    private readonly DirectoryInfo _folder = Directory.CreateTempSubdirectory("scheduler-bench-");

    // Where the triggers of the clusters are: storing them takes long, so they stay.
    private readonly ConcurrentDictionary<(FireSystem, Workload), FirePlace> _stored = new();
    private int _places;

    private FireServers(RedisServer redis, PostgresServer postgres) => (_redis, _postgres) = (redis, postgres);

    public static async Task<FireServers> StartAsync(Report report)
    {
        var redis = await RedisServer.StartAsync();
        var postgres = await PostgresServer.StartAsync("max_connections=400", "shared_preload_libraries=pg_stat_statements");
        await postgres.ExecuteAsync("CREATE EXTENSION pg_stat_statements");
        var info = await redis.CommandAsync("INFO", "server");
        report.Version("Redis server", Field(info, "redis_version:"));
        report.Version("PostgreSQL server", await postgres.AskAsync<string>("SHOW server_version"));
        report.Version("PostgreSQL fsync", await postgres.AskAsync<string>("SHOW fsync"));
        return new FireServers(redis, postgres);
    }

    /// <summary>An empty place; for a system that keeps its triggers in the database, one with the triggers of the workload.</summary>
    public async Task<FirePlace> PlaceAsync(FireSystem system, Workload workload)
    {
        var group = string.Create(CultureInfo.InvariantCulture, $"bench-{Interlocked.Increment(ref _places)}");
        var folder = _folder.CreateSubdirectory(group).FullName;
        if (!system.StoresTriggers)
        {
            return new FirePlace(group, _redis.ConnectionString, await _postgres.CreateDatabaseAsync(), folder);
        }
        if (_stored.TryGetValue((system, workload), out var stored))
        {
            return stored;
        }
        var place = new FirePlace(group, _redis.ConnectionString, await _postgres.CreateDatabaseAsync(), folder);
        await FireReplica.StoreTriggersAsync(system, workload, place);
        return _stored[(system, workload)] = place;
    }

    /// <summary>How many statements (begin and commit among them) and Redis calls there were so far. Not its own.</summary>
    public async Task<(long Sql, long Redis)> CallsAsync()
    {
        var sql = await _postgres.AskAsync<long>(
            "SELECT coalesce(sum(calls), 0)::bigint FROM pg_stat_statements s JOIN pg_database d ON d.oid = s.dbid "
                + "WHERE d.datname <> 'postgres'"
        );
        var stats = await _redis.CommandAsync("INFO", "commandstats");
        // Every call of ours is a script; what a script calls inside costs no round trip.
        var redis = stats
            .Split('\n')
            .Where(l => l.StartsWith("cmdstat_eval", StringComparison.Ordinal))
            .Sum(l => long.Parse(Field(l, "calls=").Split(',')[0], CultureInfo.InvariantCulture));
        return (sql, redis);
    }

    public async ValueTask DisposeAsync()
    {
        await _redis.DisposeAsync();
        await _postgres.DisposeAsync();
        _folder.Delete(recursive: true);
    }

    private static string Field(string text, string name)
    {
        var start = text.IndexOf(name, StringComparison.Ordinal) + name.Length;
        return text[start..].Split('\n')[0].Trim();
    }
}
