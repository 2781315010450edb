using System.Data.Common;
using System.Diagnostics;
using Dapper;
using Npgsql;
using Scheduler.Postgres.Fencing;
using Scheduler.Sqlite;
using Scheduler.Sqlite.Fencing;
using Scheduler.Testing.Webhooks;
using Scheduler.Webhooks.Processing;

namespace Scheduler.Bench.Webhooks;

/// <summary>
/// The effects: on PostgreSQL in the database of the State, so that the end of an event commits with its effect; on SQLite in a file
/// beside it. A table without any key but the order in which rows were written, so that a second effect of an event, or one out of order,
/// is there to be seen. Thread-safe.
/// </summary>
internal sealed class EffectStore : IDisposable
{
    /// <summary>Writes one.</summary>
    public const string Insert =
        "INSERT INTO effects (order_key, event_id, number, replica, at) VALUES (@order, @eventId, @number, @replica, @at)";

    private const string All =
        "SELECT seq AS Seq, order_key AS OrderKey, event_id AS EventId, number AS Number, replica AS Replica FROM effects ORDER BY seq";

    private readonly DbDataSource _database;

    public EffectStore(WebhookPlace place) =>
        _database =
            place.State == "postgres"
                ? NpgsqlDataSource.Create(FastOf(place.StateAddress))
                : SqliteDatabase.Create($"Data Source={FileOf(place)}");

    /// <summary>What an application may ask of its driver if its transactions keep nothing in their session; the floor does too.</summary>
    public static string FastOf(string address) =>
        new NpgsqlConnectionStringBuilder(address) { MaxAutoPrepare = 10, NoResetOnClose = true }.ConnectionString;

    private string Create =>
        $"""
            CREATE TABLE IF NOT EXISTS effects (
              seq {(
                _database is NpgsqlDataSource ? "bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY" : "INTEGER PRIMARY KEY AUTOINCREMENT"
            )},
              order_key TEXT NOT NULL,
              event_id TEXT NOT NULL,
              number BIGINT NOT NULL,
              replica TEXT NOT NULL,
              at BIGINT NOT NULL
            )
            """;

    /// <summary>The file, on SQLite.</summary>
    public static string FileOf(WebhookPlace place) => Path.Combine(place.Folder, "effects.db");

    /// <summary>Makes the table, before any replica starts.</summary>
    public async Task CreateAsync()
    {
        await using var connection = await _database.OpenConnectionAsync();
        await connection.ExecuteAsync(Create);
    }

    /// <summary>Applies the effect of an event.</summary>
    public async ValueTask ApplyAsync(WebhookEvent received, string order, string replica, CancellationToken cancellationToken)
    {
        var effect = received.LastEffectOf("step");
        var values = new
        {
            order,
            eventId = received.Stored.EventId,
            number = received.Stored.Number,
            replica,
            at = Stopwatch.GetTimestamp(),
        };
        if (_database is NpgsqlDataSource postgres)
        {
            await PostgresEffect.ApplyAsync(postgres, effect, WriteAsync, cancellationToken);
        }
        else
        {
            await SqliteEffect.ApplyAsync(_database, effect, WriteAsync, cancellationToken);
        }

        async ValueTask WriteAsync(DbConnection connection, DbTransaction transaction, CancellationToken _) =>
            await connection.ExecuteAsync(Insert, values, transaction);
    }

    /// <summary>All effects, in the order in which they were written.</summary>
    public async Task<IReadOnlyList<EffectRow>> AllAsync()
    {
        await using var connection = await _database.OpenConnectionAsync();
        return [.. await connection.QueryAsync<EffectRow>(All)];
    }

    public void Dispose() => _database.Dispose();
}
