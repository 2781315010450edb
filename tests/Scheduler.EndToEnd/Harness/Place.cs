using System.Globalization;
using Npgsql;
using Scheduler.Testing;
using Scheduler.Testing.Servers;

namespace Scheduler.EndToEnd.Harness;

/// <summary>Where locks and records of a test live.</summary>
public enum Backends
{
    /// <summary>Both in files.</summary>
    Sqlite = 0,

    /// <summary>Locks on a Redis server of the test's own, records in a file.</summary>
    Redis,

    /// <summary>Locks on a Redis server of the test's own, records in a PostgreSQL database of its own.</summary>
    RedisPostgres,

    /// <summary>Locks on a majority of three Redis servers of the test's own, records in a PostgreSQL database of its own.</summary>
    RedlockPostgres,

    /// <summary>Both in one PostgreSQL database of its own, and nothing else: the plainest production set-up.</summary>
    Postgres,
}

/// <summary>The lock store and the State of a test's groups, and a folder for everything else.</summary>
internal sealed class Place
{
    private readonly PostgresServer? _server;
    private readonly string? _postgres;

    private Place(string folder, IReadOnlyList<RedisServer> lockServers, PostgresServer? server, string? postgres)
    {
        (Folder, LockServers, _server, _postgres) = (folder, lockServers, server, postgres);
        var (locks, where) = lockServers.Count switch
        {
            0 when postgres is null => ("sqlite", $"Data Source={LockFile}"),
            0 => ("postgres", postgres),
            1 => ("redis", lockServers[0].ConnectionString),
            _ => ("redlock", ""),
        };
        Settings = new()
        {
            ["Scheduler__State__Backend"] = postgres is null ? "sqlite" : "postgres",
            ["Scheduler__State__ConnectionString"] = postgres ?? $"Data Source={StateFile}",
            ["Scheduler__Locks__Backend"] = locks,
            ["Scheduler__Locks__ConnectionString"] = where,
        };
        if (locks == "postgres")
        {
            Settings["Scheduler__Locks__ListenConnectionString"] = where;
        }
        for (var i = 0; lockServers.Count > 1 && i < lockServers.Count; i++)
        {
            Settings[string.Create(CultureInfo.InvariantCulture, $"Scheduler__Locks__Endpoints__{i}")] = lockServers[i].ConnectionString;
        }
    }

    /// <summary>The test's folder.</summary>
    public string Folder { get; }

    /// <summary>The lock servers, if the locks are on servers.</summary>
    public IReadOnlyList<RedisServer> LockServers { get; }

    /// <summary>The only lock server.</summary>
    public RedisServer Redis => LockServers.Single();

    /// <summary>What a worker is told of it.</summary>
    public Dictionary<string, string> Settings { get; }

    private string StateFile => Path.Combine(Folder, "state.db");

    private string LockFile => Path.Combine(Folder, "locks.db");

    /// <summary>Makes one.</summary>
    /// <param name="backends">On what.</param>
    /// <param name="redis">How the lock servers are set up.</param>
    /// <param name="postgres">Where the database is made, if it is on PostgreSQL; default: the server that the tests share.</param>
    public static async Task<Place> CreateAsync(Backends backends, RedisServerOptions? redis, PostgresServer? postgres)
    {
        var folder = Directory.CreateTempSubdirectory("scheduler-e2e-").FullName;
        var count = backends switch
        {
            Backends.Sqlite or Backends.Postgres => 0,
            Backends.RedlockPostgres => 3,
            _ => 1,
        };
        var servers = await Task.WhenAll(Enumerable.Range(0, count).Select(_ => RedisServer.StartAsync(redis)));
        if (backends is Backends.Sqlite or Backends.Redis)
        {
            return new Place(folder, servers, null, null);
        }
        postgres ??= await PostgresServer.SharedAsync();
        return new Place(folder, servers, postgres, await postgres.CreateDatabaseAsync());
    }

    /// <summary>Keeps everybody from writing to State until it is disposed of: claims and completions wait, and give up after a
    /// second.</summary>
    public async Task<IAsyncDisposable> BlockStateAsync()
    {
        if (_postgres is null)
        {
            return await EmbeddedFile.BlockWritesAsync(StateFile);
        }
        // Closing a connection that is not pooled rolls its transaction back.
        var connection = new NpgsqlConnection(new NpgsqlConnectionStringBuilder(_postgres) { Pooling = false }.ConnectionString);
        await connection.OpenAsync(TestContext.Current.CancellationToken);
        await using var block = new NpgsqlCommand("BEGIN; LOCK TABLE scheduler.fences, scheduler.runs IN EXCLUSIVE MODE", connection);
        await block.ExecuteNonQueryAsync(TestContext.Current.CancellationToken);
        return connection;
    }

    /// <summary>
    /// While State is blocked: waits until what is asked of it now has been given up. A server goes on with what a process asked of it
    /// before it died.
    /// </summary>
    public async Task UntilGivenUpAsync()
    {
        if (_server is null)
        {
            return;
        }
        const string Waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'";
        var database = new NpgsqlConnectionStringBuilder(_postgres).Database!;
        var now = await _server.AskAsync<DateTime>("SELECT clock_timestamp()", database);
        await Eventually.Holds(async () =>
            (await _server.AskAsync<long>($"{Waiting} AND datname = current_database() AND query_start < '{now:O}'", database)) == 0
        );
    }

    /// <summary>Whether nobody is in the middle of a write to a file.</summary>
    public async Task<bool> IsWritableAsync() =>
        (_postgres is not null || await EmbeddedFile.IsWritableAsync(StateFile))
        && (LockServers.Count > 0 || _postgres is not null || await EmbeddedFile.IsWritableAsync(LockFile));

    /// <summary>Ends the servers.</summary>
    public async ValueTask DisposeAsync(bool keepFiles)
    {
        foreach (var server in LockServers)
        {
            await server.DisposeAsync();
        }
        if (_server is not null)
        {
            await _server.ForgetDatabaseAsync(_postgres!);
        }
        if (!keepFiles)
        {
            Directory.Delete(Folder, recursive: true);
        }
    }
}
