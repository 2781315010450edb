using Scheduler.Bench.Floors;
using Scheduler.Bench.Harness;
using Scheduler.Hosting;
using Scheduler.Locking;
using Scheduler.Locking.InMemory;
using Scheduler.Postgres.Leases;
using Scheduler.Postgres.SessionLeases;
using Scheduler.Redis;
using Scheduler.Redis.Redlock;
using Scheduler.Sqlite.Leases;
using Scheduler.Testing.Servers;

namespace Scheduler.Bench.Locks;

/// <summary>A running place for locks.</summary>
/// <param name="Address">What other processes reach it by.</param>
/// <param name="Stop">Ends it.</param>
internal sealed record LockPlace(string Address, Func<ValueTask> Stop) : IAsyncDisposable
{
    public ValueTask DisposeAsync() => Stop();
}

/// <summary>One lock store that can be measured, and the hand-written code beside it.</summary>
internal sealed record LockStore
{
    /// <summary>Its name in the configuration.</summary>
    public required string Name { get; init; }

    /// <summary>Starts servers or makes a folder.</summary>
    public required Func<Report, Task<LockPlace>> StartAsync { get; init; }

    /// <summary>Opens the product's store at an address.</summary>
    public required Func<string, BackendContext, ILeaseStore> Open { get; init; }

    /// <summary>Opens the hand-written lock at the same address.</summary>
    public required Func<string, IRawLock> OpenFloor { get; init; }

    /// <summary>What the hand-written lock is.</summary>
    public required string Floor { get; init; }

    /// <summary>Opens one side (0 or 1) of the hand-written hand-off; none where processes do not share the store.</summary>
    public Func<string, int, IRawHandOff>? OpenHandOff { get; init; }

    /// <summary>What the hand-written hand-off is.</summary>
    public string? HandOffFloor { get; init; }

    /// <summary>The hand-written lock that ends with its process.</summary>
    public string? TakeOverFloor { get; init; }

    /// <summary>A second hand-written lock, beside which 64 workers are measured once more.</summary>
    public OtherFloor? Other { get; init; }

    /// <summary>What rows are meant to reach.</summary>
    public IReadOnlyDictionary<string, Goal> Goals { get; init; } = new Dictionary<string, Goal>(StringComparer.Ordinal);
}

/// <summary>A further hand-written lock.</summary>
/// <param name="Name">What it is.</param>
/// <param name="Open">Opens it at an address.</param>
/// <param name="Goals">What rows are meant to reach beside it.</param>
internal sealed record OtherFloor(string Name, Func<string, IRawLock> Open, IReadOnlyDictionary<string, Goal> Goals);

/// <summary>All lock stores that can be measured: a further one is one entry.</summary>
internal static class LockStores
{
    private const string RedisFloor = "SET NX PX and compare-and-delete by script";

    // The goals of held leases are those of every store over a network or a file.
    private static readonly (string, Goal)[] Held = [("CPU of the process", Goal.AtMost(0.06)), ("retained for a lease", Goal.AtMost(400))];

    private static readonly InMemoryLeaseServer Memory = new();

    public static IReadOnlyList<LockStore> All { get; } =
    [
        new()
        {
            Name = "memory",
            StartAsync = _ => Task.FromResult(new LockPlace("memory", () => ValueTask.CompletedTask)),
            Open = (_, context) => new InMemoryLeaseStore(Memory, context.Group),
            OpenFloor = _ => new RawMemory(),
            Floor = "a ConcurrentDictionary",
            Goals = Goals(Held),
        },
        new()
        {
            Name = "sqlite",
            StartAsync = _ => Task.FromResult(Folder()),
            Open = (folder, context) => new SqliteLeaseStore(context, $"Data Source={Path.Combine(folder, "locks.db")}"),
            OpenFloor = folder => new RawSqlite(folder),
            Floor = "a row inserted and deleted, WAL, synchronous=NORMAL",
            OpenHandOff = (folder, me) => new RawSqlite(folder, me),
            HandOffFloor = "a row that names whose turn it is, polled each ms by two processes",
            TakeOverFloor = "a file locked by the operating system, tried each 10 ms",
            Goals = Goals([.. Held, ("after kill -9: worst", Goal.AtMost(0.5))]),
        },
        new()
        {
            Name = "redis",
            StartAsync = report => RedisAsync(report, nodes: 1),
            Open = (address, context) => new RedisLeaseStore(address, context),
            OpenFloor = address => new RawRedis(address),
            Floor = RedisFloor,
            OpenHandOff = (address, me) => new RedisHandOff(address, me),
            HandOffFloor = "delete and publish, heard by the other of two processes, SET NX",
            TakeOverFloor = "SET NX PX renewed each third of it, tried each 10 ms",
            Goals = Goals([
                .. Held,
                ("one after another: cycles", Goal.RatioAtLeast(0.9)),
                ("256 at once: cycles", Goal.RatioAtLeast(1.5)),
                ("gap p50", Goal.RatioAtMost(2)),
                ("share of a task, largest / smallest", Goal.AtMost(3)),
                ("after kill -9: worst", Goal.AtMost(TakeOver.Lease.TotalSeconds + 0.5)),
            ]),
        },
        new()
        {
            Name = "redlock",
            StartAsync = report => RedisAsync(report, nodes: 5),
            Open = (addresses, context) => new RedlockLeaseStore(addresses.Split(';'), context),
            OpenFloor = addresses => new RawRedis(addresses),
            Floor = RedisFloor + ", on one node",
            Goals = Goals([.. Held, ("one after another: cycles", Goal.RatioAtLeast(0.35))]),
        },
        new()
        {
            Name = "postgres",
            StartAsync = PostgresAsync,
            Open = (address, context) => new PostgresLeaseStore(context, address, listenConnectionString: address),
            OpenFloor = address => new RawPostgres(address, pooled: false),
            Floor = "a row inserted and deleted, prepared, over one connection, those that meet in one commit",
            Other = new OtherFloor(
                "a row inserted and deleted, prepared, each on a connection from the pool",
                address => new RawPostgres(address, pooled: true),
                Goals([("64 at once: cycles", Goal.RatioAtLeast(2.5))])
            ),
            OpenHandOff = (address, me) => new PostgresHandOff(address, me),
            HandOffFloor = "deleted and told by NOTIFY, heard by the other of two processes, inserted durably",
            TakeOverFloor = "a row renewed each third of its time, tried each 10 ms",
            Goals = Goals([
                ("CPU of the process", Goal.AtMost(0.1)),
                ("retained for a lease", Goal.AtMost(400)),
                ("one after another: cycles", Goal.RatioAtLeast(0.9)),
                ("64 at once: cycles", Goal.RatioAtLeast(0.8)),
                ("gap p50", Goal.RatioAtMost(1)),
                ("after kill -9: worst", Goal.AtMost(TakeOver.Lease.TotalSeconds + 0.5)),
            ]),
        },
        new()
        {
            Name = "postgres-session",
            StartAsync = PostgresAsync,
            Open = (address, context) => new PostgresSessionLeaseStore(context, address),
            OpenFloor = address => new RawSessionLocks(address, pooled: false),
            Floor = "pg_try_advisory_lock and unlock, prepared, over one connection, those that meet in one statement",
            Other = new OtherFloor(
                "the same, each lock on a connection from the pool",
                address => new RawSessionLocks(address, pooled: true),
                Goals([("64 at once: cycles", Goal.RatioAtLeast(2.5))])
            ),
            OpenHandOff = (address, _) => new SessionHandOff(address),
            HandOffFloor = "pg_advisory_lock, waited for on a connection of each of two processes",
            TakeOverFloor = "pg_try_advisory_lock, tried each 10 ms",
            Goals = Goals([
                ("CPU of the process", Goal.AtMost(0.1)),
                ("one after another: cycles", Goal.RatioAtLeast(0.9)),
                ("64 at once: cycles", Goal.RatioAtLeast(0.8)),
                ("after kill -9: worst", Goal.AtMost(0.1)),
            ]),
        },
    ];

    public static LockStore Named(string name) => All.First(s => s.Name == name);

    /// <summary>Independent Redis servers of their own, nothing kept on disk; the address names all of them.</summary>
    public static async Task<LockPlace> RedisAsync(Report? report, int nodes)
    {
        var servers = new List<RedisServer>();
        for (var i = 0; i < nodes; i++)
        {
            servers.Add(await RedisServer.StartAsync());
        }
        var version = (await servers[0].CommandAsync("INFO", "server"))
            .Split('\n')
            .First(l => l.StartsWith("redis_version:", StringComparison.Ordinal));
        report?.Version("Redis server", version["redis_version:".Length..].Trim());
        return new LockPlace(
            string.Join(';', servers.Select(s => s.ConnectionString)),
            async () =>
            {
                foreach (var server in servers)
                {
                    await server.DisposeAsync();
                }
            }
        );
    }

    private static async Task<LockPlace> PostgresAsync(Report? report)
    {
        var server = await PostgresServer.StartAsync("max_connections=300");
        report?.Version("PostgreSQL server", await server.AskAsync<string>("SHOW server_version"));
        report?.Version("PostgreSQL fsync", await server.AskAsync<string>("SHOW fsync"));
        return new LockPlace(await server.CreateDatabaseAsync(), server.DisposeAsync);
    }

    private static LockPlace Folder()
    {
        var folder = Directory.CreateTempSubdirectory("scheduler-bench-");
        return new LockPlace(
            folder.FullName,
            () =>
            {
                folder.Delete(recursive: true);
                return ValueTask.CompletedTask;
            }
        );
    }

    private static Dictionary<string, Goal> Goals(IEnumerable<(string Row, Goal Goal)> goals) =>
        goals.ToDictionary(g => g.Row, g => g.Goal, StringComparer.Ordinal);
}
