using Scheduler.Runs;

namespace Scheduler.Postgres.State;

/// <summary>The notes on the lock store, on PostgreSQL. Thread-safe.</summary>
internal sealed class PostgresLockStoreNotes(StateDatabase database, string group) : ILockStoreNotes
{
    private readonly string _table = $"{database.Place.Quoted}.lock_store";

    public ValueTask<string?> RecallAsync(CancellationToken cancellationToken) =>
        database.CallAsync(
            batch => batch.Add($"SELECT id FROM {_table} WHERE group_name = $1").Text(group),
            static async reader => await reader.ReadAsync() ? reader.GetString(0) : null,
            cancellationToken
        );

    public ValueTask NoteAsync(string storeId, DateTimeOffset now, CancellationToken cancellationToken)
    {
        ArgumentException.ThrowIfNullOrEmpty(storeId);
        return database.WriteAsync(
            batch =>
            {
                batch.Add($"SELECT {database.Place.Quoted}.durable()");
                batch
                    .Add(
                        $"""
                        INSERT INTO {_table} AS l (group_name, id, first_use) VALUES ($1, $2, $3)
                        ON CONFLICT (group_name) DO UPDATE SET id = excluded.id, first_use = excluded.first_use WHERE l.id <> excluded.id
                        """
                    )
                    .Text(group)
                    .Text(storeId)
                    .Time(now);
            },
            cancellationToken
        );
    }
}
