using System.Data.Common;
using System.Diagnostics;
using Dapper;
using Scheduler.Sqlite;
using Scheduler.Sqlite.Fencing;
using Scheduler.Webhooks.Processing;

namespace Scheduler.Bench.Webhooks;

/// <summary>One row of the effects.</summary>
/// <param name="Seq">The order in which they were committed.</param>
/// <param name="OrderKey">The order.</param>
/// <param name="EventId">The sender's id of the event.</param>
/// <param name="Number">The event's number of arrival.</param>
/// <param name="Replica">Who applied it.</param>
internal sealed record EffectRow(long Seq, string OrderKey, string EventId, long Number, string Replica);

/// <summary>The database of the effects: a table without any key but the order in which rows were committed, so that a second effect of
/// an event, or one out of order, is there to be seen. Thread-safe.</summary>
internal sealed class EffectStore : IDisposable
{
    /// <summary>Writes one.</summary>
    public const string Insert =
        "INSERT INTO effects (order_key, event_id, number, replica, at) VALUES (@order, @eventId, @number, @replica, @at)";

    private const string Create = """
        CREATE TABLE IF NOT EXISTS effects (
          seq INTEGER PRIMARY KEY AUTOINCREMENT,
          order_key TEXT NOT NULL,
          event_id TEXT NOT NULL,
          number INTEGER NOT NULL,
          replica TEXT NOT NULL,
          at INTEGER NOT NULL
        )
        """;

    private const string All =
        "SELECT seq AS Seq, order_key AS OrderKey, event_id AS EventId, number AS Number, replica AS Replica FROM effects ORDER BY seq";

    private readonly DbDataSource _database;

    public EffectStore(WebhookPlace place) => _database = SqliteDatabase.Create($"Data Source={FileOf(place)}");

    /// <summary>The file.</summary>
    public static string FileOf(WebhookPlace place) => Path.Combine(place.Folder, "effects.db");

    /// <summary>Makes the table, before any replica starts.</summary>
    public async Task CreateAsync()
    {
        await using var connection = await _database.OpenConnectionAsync();
        await connection.ExecuteAsync(Create);
    }

    /// <summary>Applies the effect of an event.</summary>
    public async ValueTask ApplyAsync(WebhookEvent received, string order, string replica, CancellationToken cancellationToken) =>
        await SqliteEffect.ApplyAsync(
            _database,
            received.EffectOf("step"),
            received.LockKey,
            received.Token,
            async (connection, transaction, _) =>
                await connection.ExecuteAsync(
                    Insert,
                    new
                    {
                        order,
                        eventId = received.Stored.EventId,
                        number = received.Stored.Number,
                        replica,
                        at = Stopwatch.GetTimestamp(),
                    },
                    transaction
                ),
            cancellationToken
        );

    /// <summary>All effects, in the order in which they were committed.</summary>
    public async Task<IReadOnlyList<EffectRow>> AllAsync()
    {
        await using var connection = await _database.OpenConnectionAsync();
        return [.. await connection.QueryAsync<EffectRow>(All)];
    }

    public void Dispose() => _database.Dispose();
}
