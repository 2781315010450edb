using System.Data.Common;
using Scheduler.Hosting;
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
/// <param name="Use">Chooses it, from the connection string.</param>
internal sealed record Backend(string Name, bool IsNetworked, Func<string?, string?> Problem, Action<IBackendBuilder, string> Use)
{
    /// <summary>For one that is named by endpoints instead of a connection string: what is wrong with them, and how it is chosen.</summary>
    public EndpointsBackend? Endpoints { get; init; }

    /// <summary>Chooses it.</summary>
    public void Apply(IBackendBuilder builder, string? connectionString, IReadOnlyList<string> endpoints)
    {
        if (Endpoints is not null)
        {
            Endpoints.Use(builder, endpoints);
        }
        else
        {
            Use(builder, connectionString ?? "");
        }
    }
}

/// <summary>A backend that is named by endpoints.</summary>
/// <param name="Problems">What is wrong with them, without showing their options.</param>
/// <param name="Use">Chooses it.</param>
internal sealed record EndpointsBackend(
    Func<IReadOnlyList<string>, IReadOnlyList<string>> Problems,
    Action<IBackendBuilder, IReadOnlyList<string>> Use
);

/// <summary>The catalogue: a new backend is one line here.</summary>
internal static class Backends
{
    public static readonly IReadOnlyList<Backend> Locks =
    [
        new("memory", IsNetworked: false, _ => null, (builder, _) => builder.UseMemory()),
        new("sqlite", IsNetworked: false, SqliteProblem, (builder, connection) => builder.UseSqliteLocks(connection)),
        new("redis", IsNetworked: true, RedisProblem, (builder, connection) => builder.UseRedis(connection)),
        new("redlock", IsNetworked: true, _ => null, (_, _) => { })
        {
            Endpoints = new(RedlockEndpoints.Problems, (builder, endpoints) => builder.UseRedlock(endpoints)),
        },
    ];

    public static readonly IReadOnlyList<Backend> State =
    [
        new("sqlite", IsNetworked: false, SqliteProblem, (builder, connection) => builder.UseSqliteState(connection)),
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
