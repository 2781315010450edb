using Quartz;
using Scheduler.Bench.Floors;
using Scheduler.Bench.Harness;
using Scheduler.Jobs;
using Scheduler.Postgres.State;
using Scheduler.Redis;
using Scheduler.Sqlite.Leases;
using Scheduler.Sqlite.State;

namespace Scheduler.Bench.Fires;

/// <summary>Where one set of processes keeps its locks, records and triggers; empty for every set.</summary>
/// <param name="Group">A name of its own.</param>
/// <param name="Redis">Connection string.</param>
/// <param name="Postgres">Connection string of a database of its own.</param>
/// <param name="Folder">A folder of its own.</param>
internal sealed record FirePlace(string Group, string Redis, string Postgres, string Folder);

/// <summary>One way to run the same jobs on several processes.</summary>
/// <param name="Name">What the tables call it.</param>
/// <param name="Configure">Sets a process of it up.</param>
internal sealed record FireSystem(string Name, Action<IQuartzBuilder, FirePlace> Configure)
{
    /// <summary>Whether the triggers are in the database, put there once, instead of in the memory of every process.</summary>
    public bool StoresTriggers { get; init; }

    /// <summary>What rows are meant to reach beside Quartz's cluster at its best settings.</summary>
    public IReadOnlyDictionary<string, Goal>? BesideBest { get; init; }

    /// <summary>What rows are meant to reach beside Quartz's cluster at its default settings.</summary>
    public IReadOnlyDictionary<string, Goal>? BesideDefault { get; init; }
}

/// <summary>All systems that are measured: a further one of ours is one entry.</summary>
internal static class FireSystems
{
    /// <summary>Bodies at once in a process of ours, as for the cluster at its best settings.</summary>
    private const int Slots = 50;

    /// <summary>The lease of every run of ours.</summary>
    public static TimeSpan Lease { get; } = TimeSpan.FromSeconds(5);

    private static readonly Dictionary<string, Goal> BesideBest = new(StringComparer.Ordinal)
    {
        ["3 processes: fires"] = Goal.RatioAtLeast(4),
        ["3 processes: lateness p99"] = Goal.RatioAtMost(0.25),
        ["2 processes: take-over after kill -9"] = Goal.AtMost(Lease.TotalSeconds + 0.5),
    };

    private static readonly Dictionary<string, Goal> BesideDefault = new(StringComparer.Ordinal)
    {
        ["3 processes: fires"] = Goal.RatioAtLeast(10),
    };

    public static IReadOnlyList<FireSystem> Ours { get; } =
    [
        new(
            "redis+postgres",
            (quartz, place) => SingleInstance(quartz, place, l => l.UseRedis(place.Redis).UsePostgresState(place.Postgres))
        )
        {
            BesideBest = BesideBest,
            BesideDefault = BesideDefault,
        },
        new(
            "redis+sqlite",
            (quartz, place) => SingleInstance(quartz, place, l => l.UseRedis(place.Redis).UseSqliteState(StateFile(place)))
        ),
        new(
            "sqlite",
            (quartz, place) =>
                SingleInstance(
                    quartz,
                    place,
                    l => l.UseSqliteLocks($"Data Source={Path.Combine(place.Folder, "locks.db")}").UseSqliteState(StateFile(place))
                )
        )
        {
            BesideBest = new Dictionary<string, Goal>(StringComparer.Ordinal)
            {
                ["2 processes: take-over after kill -9"] = Goal.AtMost(0.5),
            },
        },
    ];

    /// <summary>Quartz's own cluster: its default settings, and the best ones found.</summary>
    public static FireSystem ClusterDefault { get; } =
        new("Quartz cluster, default settings", (quartz, place) => QuartzCluster.UseDefault(quartz, place.Postgres))
        {
            StoresTriggers = true,
        };

    /// <summary>The same at its best settings.</summary>
    public static FireSystem ClusterBest { get; } =
        new("Quartz cluster, best settings", (quartz, place) => QuartzCluster.UseBest(quartz, place.Postgres)) { StoresTriggers = true };

    /// <summary>One process without any coordination: what the middleware adds is counted from here.</summary>
    public static FireSystem Alone { get; } = new("plain Quartz in one process", (quartz, _) => quartz.UseDefaultThreadPool(Slots));

    public static FireSystem Named(string name) => ((FireSystem[])[.. Ours, ClusterDefault, ClusterBest, Alone]).First(s => s.Name == name);

    private static string StateFile(FirePlace place) => $"Data Source={Path.Combine(place.Folder, "state.db")}";

    private static void SingleInstance(IQuartzBuilder quartz, FirePlace place, Action<SingleInstanceBuilder> backends)
    {
        quartz.UseDefaultThreadPool(Slots);
        quartz.ConfigureScheduler(o => o.MaxBatchSize = Slots);
        quartz.UseSingleInstance(
            place.Group,
            builder =>
            {
                builder.Options.Leases.LeaseDuration = Lease;
                backends(builder);
            }
        );
    }
}
