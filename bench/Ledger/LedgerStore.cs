using System.Data.Common;
using Microsoft.Data.Sqlite;
using Npgsql;
using Scheduler.Bench.Floors;
using Scheduler.Bench.Harness;
using Scheduler.Hosting;
using Scheduler.Postgres.State;
using Scheduler.Runs;
using Scheduler.Sqlite.State;
using Scheduler.Testing.Servers;

namespace Scheduler.Bench.Ledger;

/// <summary>A running place for records.</summary>
/// <param name="Address">What the State is opened with.</param>
/// <param name="OpenRaw">Opens a connection for the hand-written statements, to the same database or a file beside it.</param>
/// <param name="OpenPooled">Takes a connection to the same from the driver's pool.</param>
/// <param name="Stop">Ends it.</param>
internal sealed record LedgerPlace(
    string Address,
    Func<DbConnection> OpenRaw,
    Func<ValueTask<DbConnection>> OpenPooled,
    Func<ValueTask> Stop
) : IAsyncDisposable
{
    public ValueTask DisposeAsync() => Stop();
}

/// <summary>One State whose ledger can be measured.</summary>
/// <param name="Name">Its name in the configuration.</param>
/// <param name="StartAsync">Starts a server or makes a folder.</param>
/// <param name="Open">Opens the product's State at an address.</param>
/// <param name="Floor">How durable the hand-written statements are.</param>
/// <param name="OneWriter">Whether the database has one writer at a time.</param>
internal sealed record LedgerStore(
    string Name,
    Func<Report, Task<LedgerPlace>> StartAsync,
    Func<string, BackendContext, IState> Open,
    string Floor,
    bool OneWriter = false
);

/// <summary>All States that can be measured: a further one is one entry.</summary>
internal static class LedgerStores
{
    public static IReadOnlyList<LedgerStore> All { get; } =
    [
        new(
            "sqlite",
            _ => Task.FromResult(Sqlite()),
            (file, context) => new SqliteState(context, file),
            "WAL, synchronous=FULL",
            OneWriter: true
        ),
        new("postgres", PostgresAsync, (connection, context) => new PostgresState(context, connection), "fsync and synchronous_commit on"),
    ];

    private static async Task<LedgerPlace> PostgresAsync(Report report)
    {
        var server = await PostgresServer.StartAsync("max_connections=300");
        report.Version("PostgreSQL server", await server.AskAsync<string>("SHOW server_version"));
        report.Version("PostgreSQL fsync", await server.AskAsync<string>("SHOW fsync"));
        var database = await server.CreateDatabaseAsync();
        var pool = NpgsqlDataSource.Create(database);
        return new LedgerPlace(
            database,
            OpenRaw,
            async () => await pool.OpenConnectionAsync(),
            async () =>
            {
                await pool.DisposeAsync();
                await server.DisposeAsync();
            }
        );

        DbConnection OpenRaw()
        {
            var connection = new NpgsqlConnection(database);
            connection.Open();
            return connection;
        }
    }

    private static LedgerPlace Sqlite()
    {
        var folder = Directory.CreateTempSubdirectory("scheduler-bench-");
        return new LedgerPlace(
            $"Data Source={Path.Combine(folder.FullName, "state.db")}",
            () => RawSqlite.Open(Path.Combine(folder.FullName, "raw.db"), "FULL"),
            // FULL is what SQLite does unless it is told otherwise.
            async () =>
            {
                var connection = new SqliteConnection($"Data Source={Path.Combine(folder.FullName, "raw.db")}");
                await connection.OpenAsync();
                return connection;
            },
            () =>
            {
                folder.Delete(recursive: true);
                return ValueTask.CompletedTask;
            }
        );
    }
}
