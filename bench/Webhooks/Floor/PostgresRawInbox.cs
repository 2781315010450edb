using Npgsql;
using NpgsqlTypes;

namespace Scheduler.Bench.Webhooks.Floor;

/// <summary>A table with one key, by hand.</summary>
internal sealed class PostgresRawInbox : IRawInbox
{
    /// <summary>Makes the table.</summary>
    public const string Create = """
        CREATE TABLE IF NOT EXISTS raw_inbox (
          number bigint GENERATED ALWAYS AS IDENTITY,
          dedupe_key text COLLATE "C" PRIMARY KEY,
          order_key text COLLATE "C" NOT NULL,
          event_id text COLLATE "C" NOT NULL,
          event_type text COLLATE "C" NOT NULL,
          state text COLLATE "C" NOT NULL DEFAULT 'received',
          received_at timestamptz NOT NULL DEFAULT now(),
          body bytea NOT NULL
        );
        ALTER TABLE raw_inbox ALTER COLUMN body SET STORAGE EXTERNAL
        """;

    private const string One = """
        INSERT INTO raw_inbox (dedupe_key, order_key, event_id, event_type, body) VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING
        """;

    /// <summary>Stores a group.</summary>
    public const string Group = """
        INSERT INTO raw_inbox (dedupe_key, order_key, event_id, event_type, body) SELECT * FROM unnest($1, $2, $3, $4, $5)
        ON CONFLICT DO NOTHING RETURNING dedupe_key
        """;

    private readonly NpgsqlDataSource _pool;
    private readonly GroupWriter? _writer;

    private PostgresRawInbox(NpgsqlDataSource pool, GroupWriter? writer) => (_pool, _writer) = (pool, writer);

    public static async ValueTask<IRawInbox> OpenAsync(FloorSetup setup)
    {
        var pool = NpgsqlDataSource.Create(
            new NpgsqlConnectionStringBuilder(setup.Address) { MaxAutoPrepare = 10, NoResetOnClose = true }.ConnectionString
        );
        await using (var create = pool.CreateCommand(Create))
        {
            await create.ExecuteNonQueryAsync();
        }
        var writer = setup.Kind == FloorKind.Rows ? null : new GroupWriter();
        for (var i = 0; i < (setup.Kind == FloorKind.TwoWriters ? 2 : 1) && writer is not null; i++)
        {
            var command = new NpgsqlCommand(Group, await pool.OpenConnectionAsync());
            foreach (var type in (NpgsqlDbType[])[.. Enumerable.Repeat(NpgsqlDbType.Text, 4), NpgsqlDbType.Bytea])
            {
                command.Parameters.Add(new NpgsqlParameter { NpgsqlDbType = type | NpgsqlDbType.Array });
            }
            await command.PrepareAsync();
            _ = Task.Run(() => writer.WriteAsync(group => StoreAsync(command, group)));
        }
        return new PostgresRawInbox(pool, writer);
    }

    public async ValueTask<bool> AddAsync(RawEvent received)
    {
        if (_writer is not null)
        {
            return await _writer.AddAsync(received);
        }
        await using var connection = await _pool.OpenConnectionAsync();
        await using var command = new NpgsqlCommand(One, connection);
        command.Parameters.Add(new NpgsqlParameter<string> { TypedValue = received.Key });
        command.Parameters.Add(new NpgsqlParameter<string> { TypedValue = received.Order });
        command.Parameters.Add(new NpgsqlParameter<string> { TypedValue = received.EventId });
        command.Parameters.Add(new NpgsqlParameter<string> { TypedValue = received.Type });
        command.Parameters.Add(new NpgsqlParameter<byte[]> { TypedValue = received.Body });
        return await command.ExecuteNonQueryAsync() == 1;
    }

    public ValueTask DisposeAsync() => _pool.DisposeAsync();

    private static async ValueTask<HashSet<string>> StoreAsync(NpgsqlCommand command, IReadOnlyList<RawEvent> group)
    {
        // By key, so that two writers that have the same keys do not wait for each other in a circle.
        var sorted = group.OrderBy(e => e.Key, StringComparer.Ordinal).ToList();
        command.Parameters[0].Value = sorted.ConvertAll(e => e.Key);
        command.Parameters[1].Value = sorted.ConvertAll(e => e.Order);
        command.Parameters[2].Value = sorted.ConvertAll(e => e.EventId);
        command.Parameters[3].Value = sorted.ConvertAll(e => e.Type);
        command.Parameters[4].Value = sorted.ConvertAll(e => e.Body);
        var stored = new HashSet<string>(group.Count, StringComparer.Ordinal);
        await using var reader = await command.ExecuteReaderAsync();
        while (await reader.ReadAsync())
        {
            stored.Add(reader.GetString(0));
        }
        return stored;
    }
}
