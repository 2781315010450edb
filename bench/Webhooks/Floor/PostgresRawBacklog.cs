using System.Diagnostics;
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

    private const string Tables = """
        CREATE TABLE raw_fences (lock_key text COLLATE "C" PRIMARY KEY, token bigint NOT NULL);
        CREATE TABLE raw_effects (dedupe_key text COLLATE "C" PRIMARY KEY);
        CREATE TABLE effects (
          seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, order_key text NOT NULL, event_id text NOT NULL, number bigint NOT NULL,
          replica text NOT NULL, at bigint NOT NULL
        )
        """;

    private const string Fence = """
        INSERT INTO raw_fences AS f (lock_key, token) VALUES ($1, 1)
        ON CONFLICT (lock_key) DO UPDATE SET token = excluded.token WHERE excluded.token >= f.token
        """;

    private const string Note = "INSERT INTO raw_effects (dedupe_key) VALUES ($1)";

    private const string Work = "INSERT INTO effects (order_key, event_id, number, replica, at) VALUES ($1, $2, 0, 'floor', $3)";

    private readonly NpgsqlDataSource _pool;

    private PostgresRawBacklog(NpgsqlDataSource pool) => _pool = pool;

    public static async Task<IRawBacklog> OpenAsync(DrainSetup setup)
    {
        var pool = NpgsqlDataSource.Create(EffectStore.FastOf(setup.Address));
        await using var create = pool.CreateCommand(
            $"{PostgresRawInbox.Create}; {Due}; {Tables}; "
                + "ALTER TABLE raw_inbox ADD due_at timestamptz, ADD attempts integer NOT NULL DEFAULT 0, ADD finished_at timestamptz"
        );
        await create.ExecuteNonQueryAsync();
        return new PostgresRawBacklog(pool);
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
        await using var connection = await _pool.OpenConnectionAsync();
        await using var transaction = await connection.BeginTransactionAsync();
        await using (var guard = new NpgsqlBatch(connection, transaction))
        {
            Add(guard, Fence, received.Order);
            Add(guard, Note, received.Key);
            await guard.ExecuteNonQueryAsync();
        }
        await using (var work = new NpgsqlCommand(Work, connection, transaction))
        {
            work.Parameters.Add(new NpgsqlParameter<string> { TypedValue = payload.OrderId });
            work.Parameters.Add(new NpgsqlParameter<string> { TypedValue = received.EventId });
            work.Parameters.Add(new NpgsqlParameter<long> { TypedValue = Stopwatch.GetTimestamp() });
            await work.ExecuteNonQueryAsync();
        }
        await using (var done = new NpgsqlCommand(Done, connection, transaction))
        {
            done.Parameters.Add(new NpgsqlParameter<string> { TypedValue = received.Key });
            await done.ExecuteNonQueryAsync();
        }
        await transaction.CommitAsync();
    }

    public ValueTask DisposeAsync() => _pool.DisposeAsync();

    private static void Add(NpgsqlBatch batch, string sql, string value)
    {
        var command = new NpgsqlBatchCommand(sql);
        command.Parameters.Add(new NpgsqlParameter<string> { TypedValue = value });
        batch.BatchCommands.Add(command);
    }
}
