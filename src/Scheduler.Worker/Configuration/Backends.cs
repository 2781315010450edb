using System.Data.Common;
using Scheduler.Hosting;
using Scheduler.Postgres.Leases;
using Scheduler.Postgres.SessionLeases;
using Scheduler.Postgres.State;
using Scheduler.Redis;
using Scheduler.Redis.Redlock;
using Scheduler.Sqlite;
using Scheduler.Sqlite.Leases;
using Scheduler.Sqlite.State;

namespace Scheduler.Worker.Configuration;

/// <summary>A backend that the configuration may name.</summary>
/// <param name="Name">Its name there.</param>
/// <param name="IsNetworked">Whether other applications may share the server, so that a group is required.</param>
/// <param name="Problem">What is wrong with a connection string, without showing it, or null.</param>
/// <param name="Use">Chooses it, from the options.</param>
internal sealed record Backend(string Name, bool IsNetworked, Func<string?, string?> Problem, Action<IBackendBuilder, SchedulerOptions> Use)
{
    /// <summary>For one that is found by endpoints instead of a connection string: what is wrong with them, without showing their
    /// options.</summary>
    public Func<IReadOnlyList<string>, IReadOnlyList<string>>? EndpointProblems { get; init; }

    /// <summary>Whether its replicas can hear each other over a ListenConnectionString.</summary>
    public bool Listens { get; init; }
}

/// <summary>The catalogue: a new backend is one line here.</summary>
internal static class Backends
{
    public static readonly IReadOnlyList<Backend> Locks =
    [
        new("memory", IsNetworked: false, _ => null, (builder, _) => builder.UseMemory()),
        new("sqlite", IsNetworked: false, SqliteProblem, (builder, options) => builder.UseSqliteLocks(options.Locks.ConnectionString!)),
        new("redis", IsNetworked: true, RedisProblem, (builder, options) => builder.UseRedis(options.Locks.ConnectionString!)),
        new("redlock", IsNetworked: true, _ => null, (builder, options) => builder.UseRedlock(options.Locks.Endpoints))
        {
            EndpointProblems = RedlockEndpoints.Problems,
        },
        new(
            "postgres",
            IsNetworked: true,
            PostgresStateExtensions.FindConnectionStringProblem,
            (builder, options) =>
                builder.UsePostgresLocks(options.Locks.ConnectionString!, options.Locks.Schema, options.Locks.ListenConnectionString)
        )
        {
            Listens = true,
        },
        new(
            "postgres-session",
            IsNetworked: true,
            PostgresStateExtensions.FindConnectionStringProblem,
            (builder, options) => builder.UsePostgresSessionLocks(options.Locks.ConnectionString!, options.Locks.Schema)
        ),
    ];

    public static readonly IReadOnlyList<Backend> State =
    [
        new("sqlite", IsNetworked: false, SqliteProblem, (builder, options) => builder.UseSqliteState(options.State.ConnectionString!)),
        new(
            "postgres",
            IsNetworked: true,
            PostgresStateExtensions.FindConnectionStringProblem,
            (builder, options) =>
                builder.UsePostgresState(options.State.ConnectionString!, options.State.Schema, options.State.ListenConnectionString)
        )
        {
            Listens = true,
        },
        new("none", IsNetworked: false, _ => null, (_, _) => { }),
    ];

    public static Backend? Find(IReadOnlyList<Backend> catalogue, string? name) =>
        catalogue.FirstOrDefault(b => b.Name.Equals(name, StringComparison.OrdinalIgnoreCase));

    private static string? SqliteProblem(string? connectionString)
    {
        try
        {
            var parts = new DbConnectionStringBuilder { ConnectionString = connectionString };
            if (!parts.TryGetValue("Data Source", out var source) || string.IsNullOrWhiteSpace(source as string))
            {
                return "names no file; write 'Data Source=<path of the database>'.";
            }
            if (parts.ContainsKey("Password"))
            {
                return "has a Password, but SQLite files are not encrypted here; write 'Data Source=<path of the database>'.";
            }
            // The driver's own reading finds the words that it does not know; nothing is opened.
            using (SqliteDatabase.Create(connectionString!)) { }
            return null;
        }
        catch (ArgumentException)
        {
            return "is no connection string; write 'Data Source=<path of the database>'.";
        }
    }

    private static string? RedisProblem(string? connectionString) =>
        string.IsNullOrWhiteSpace(connectionString) || connectionString.StartsWith("Data Source", StringComparison.OrdinalIgnoreCase)
            ? "names no Redis server; write 'host:port' and options, for example 'redis.internal:6379,password=…'."
            : null;
}
