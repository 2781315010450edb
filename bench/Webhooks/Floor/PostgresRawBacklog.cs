using Dapper;
using Npgsql;

namespace Scheduler.Bench.Webhooks.Floor;

/// <summary>Events that wait in PostgreSQL.</summary>
internal sealed class PostgresRawBacklog : IRawBacklog
{
    private const string Due = "CREATE INDEX ON raw_inbox (number) WHERE state = 'received'";

    private const string Take = """
        UPDATE raw_inbox AS i SET state = 'processing', due_at = now() + interval '10 s', attempts = attempts + 1
        WHERE i.dedupe_key IN (
          SELECT d.dedupe_key FROM raw_inbox d WHERE d.state = 'received' ORDER BY d.number LIMIT $1 FOR UPDATE SKIP LOCKED)
        RETURNING i.dedupe_key, i.order_key, i.event_id, i.event_type, i.body
        """;

    private const string Done = "UPDATE raw_inbox SET state = 'done', due_at = NULL, finished_at = now() WHERE dedupe_key = $1";

    private readonly NpgsqlDataSource _pool;
    private readonly RawEffects _effects;

    private PostgresRawBacklog(NpgsqlDataSource pool, RawEffects effects) => (_pool, _effects) = (pool, effects);

    public static async Task<IRawBacklog> OpenAsync(DrainSetup setup)
    {
        var pool = NpgsqlDataSource.Create(
            new NpgsqlConnectionStringBuilder(setup.Address) { MaxAutoPrepare = 10, NoResetOnClose = true }.ConnectionString
        );
        await using var create = pool.CreateCommand(
            $"{PostgresRawInbox.Create}; {Due}; "
                + "ALTER TABLE raw_inbox ADD due_at timestamptz, ADD attempts integer NOT NULL DEFAULT 0, ADD finished_at timestamptz"
        );
        await create.ExecuteNonQueryAsync();
        return new PostgresRawBacklog(pool, new RawEffects(setup.Effects));
    }

    public async Task FillAsync(IReadOnlyList<RawEvent> events)
    {
        foreach (var part in events.Chunk(500))
        {
            await using var insert = _pool.CreateCommand(PostgresRawInbox.Group);
            insert.Parameters.Add(new() { Value = part.Select(e => e.Key).AsList() });
            insert.Parameters.Add(new() { Value = part.Select(e => e.Order).AsList() });
            insert.Parameters.Add(new() { Value = part.Select(e => e.EventId).AsList() });
            insert.Parameters.Add(new() { Value = part.Select(e => e.Type).AsList() });
            insert.Parameters.Add(new() { Value = part.Select(e => e.Body).AsList() });
            await insert.ExecuteNonQueryAsync();
        }
    }

    public async Task<IReadOnlyList<RawEvent>> TakeAsync(int limit)
    {
        await using var take = _pool.CreateCommand(Take);
        take.Parameters.Add(new NpgsqlParameter<int> { TypedValue = limit });
        var events = new List<RawEvent>();
        await using var reader = await take.ExecuteReaderAsync();
        while (await reader.ReadAsync())
        {
            events.Add(
                new RawEvent(
                    reader.GetString(0),
                    reader.GetString(1),
                    reader.GetString(2),
                    reader.GetString(3),
                    reader.GetFieldValue<byte[]>(4)
                )
            );
        }
        return events;
    }

    public async Task ProcessAsync(RawEvent received, BenchEvent payload)
    {
        await _effects.ApplyAsync(received);
        await using var done = _pool.CreateCommand(Done);
        done.Parameters.Add(new NpgsqlParameter<string> { TypedValue = received.Key });
        await done.ExecuteNonQueryAsync();
    }

    public async ValueTask DisposeAsync()
    {
        await _pool.DisposeAsync();
        _effects.Dispose();
    }
}
