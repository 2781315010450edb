using Microsoft.Data.Sqlite;
using Scheduler.Bench.Floors;

namespace Scheduler.Bench.Webhooks.Floor;

/// <summary>A table with one key in a WAL file with <c>synchronous=FULL</c>, on the one connection that can write at a time.</summary>
internal sealed class SqliteRawInbox : IRawInbox
{
    /// <summary>Sets a connection up and makes the table.</summary>
    public const string Create = """
        PRAGMA cache_size = -65536; PRAGMA wal_autocheckpoint = 4000;
        CREATE TABLE IF NOT EXISTS raw_inbox (
          number INTEGER PRIMARY KEY,
          dedupe_key TEXT NOT NULL UNIQUE,
          order_key TEXT NOT NULL,
          event_id TEXT NOT NULL,
          event_type TEXT NOT NULL,
          state TEXT NOT NULL DEFAULT 'received',
          received_at INTEGER NOT NULL,
          body BLOB NOT NULL
        )
        """;

    /// <summary>Stores one.</summary>
    public const string Insert = """
        INSERT INTO raw_inbox (dedupe_key, order_key, event_id, event_type, received_at, body) VALUES ($key, $order, $id, $type, $at, $body)
        ON CONFLICT DO NOTHING
        """;

    /// <summary>Its parameters.</summary>
    public static readonly string[] Names = ["$key", "$order", "$id", "$type", "$at", "$body"];

    private readonly SqliteConnection _connection;
    private readonly SqliteCommand _insert;
    private readonly SemaphoreSlim _one = new(1, 1);
    private readonly GroupWriter? _writer;

    public SqliteRawInbox(FloorSetup setup)
    {
        _connection = RawSqlite.Open(setup.Address, "FULL");
        using (var create = new SqliteCommand(Create, _connection))
        {
            create.ExecuteNonQuery();
        }
        _insert = new SqliteCommand(Insert, _connection);
        foreach (var name in Names)
        {
            _insert.Parameters.Add(new SqliteParameter { ParameterName = name });
        }
        if (setup.Kind == FloorKind.Rows)
        {
            return;
        }
        _writer = new GroupWriter();
        // A thread of its own: it blocks at the disk, and would be missing where requests are read.
        new Thread(() => _writer.Write(Store)) { IsBackground = true, Name = "writer" }.Start();
    }

    public async ValueTask<bool> AddAsync(RawEvent received)
    {
        if (_writer is not null)
        {
            return await _writer.AddAsync(received);
        }
        await _one.WaitAsync();
        try
        {
            return Write(received);
        }
        finally
        {
            _one.Release();
        }
    }

    public ValueTask DisposeAsync()
    {
        _insert.Dispose();
        _connection.Dispose();
        _one.Dispose();
        return ValueTask.CompletedTask;
    }

    private HashSet<string> Store(IReadOnlyList<RawEvent> group)
    {
        var stored = new HashSet<string>(group.Count, StringComparer.Ordinal);
        using var transaction = _connection.BeginTransaction(deferred: false);
        _insert.Transaction = transaction;
        foreach (var received in group)
        {
            if (Write(received))
            {
                stored.Add(received.Key);
            }
        }
        transaction.Commit();
        return stored;
    }

    /// <summary>Gives the statement the values of an event.</summary>
    public static void Fill(SqliteCommand insert, RawEvent received)
    {
        object[] values =
        [
            received.Key,
            received.Order,
            received.EventId,
            received.Type,
            TimeProvider.System.GetUtcNow().ToUnixTimeMilliseconds(),
            received.Body,
        ];
        for (var i = 0; i < values.Length; i++)
        {
            insert.Parameters[i].Value = values[i];
        }
    }

    private bool Write(RawEvent received)
    {
        Fill(_insert, received);
        return _insert.ExecuteNonQuery() == 1;
    }
}
