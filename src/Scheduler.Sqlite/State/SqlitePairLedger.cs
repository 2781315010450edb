using Dapper;
using Scheduler.Runs;

namespace Scheduler.Sqlite.State;

/// <summary>The notes on the lock store, on SQLite. Thread-safe.</summary>
internal sealed class SqliteLockStoreNotes(StateDatabase database, string group) : ILockStoreNotes
{
    private const string Write = """
        INSERT INTO lock_store (group_name, id, first_use) VALUES (@group, @storeId, @now)
        ON CONFLICT (group_name) DO UPDATE SET id = excluded.id, first_use = excluded.first_use WHERE id <> excluded.id
        """;

    public ValueTask<string?> RecallAsync(CancellationToken cancellationToken) =>
        database.ReadAsync(
            connection => connection.QuerySingleOrDefault<string?>("SELECT id FROM lock_store WHERE group_name = @group", new { group }),
            cancellationToken
        );

    public async ValueTask NoteAsync(string storeId, DateTimeOffset now, CancellationToken cancellationToken)
    {
        ArgumentException.ThrowIfNullOrEmpty(storeId);
        await database.WriteAsync(
            connection =>
                connection.Execute(
                    Write,
                    new
                    {
                        group,
                        storeId,
                        now = Times.Of(now),
                    }
                ),
            cancellationToken
        );
    }
}
