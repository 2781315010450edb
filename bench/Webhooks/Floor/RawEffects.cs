using System.Diagnostics;
using Microsoft.Data.Sqlite;
using Scheduler.Bench.Floors;

namespace Scheduler.Bench.Webhooks.Floor;

/// <summary>The effects by hand: one connection, one transaction for each with its fence, its note and its row.</summary>
internal sealed class RawEffects : IDisposable
{
    private const string Tables = """
        CREATE TABLE raw_fences (lock_key TEXT PRIMARY KEY, token INTEGER NOT NULL) WITHOUT ROWID;
        CREATE TABLE raw_effects (dedupe_key TEXT PRIMARY KEY) WITHOUT ROWID;
        """;

    private const string Sql = """
        INSERT INTO raw_fences (lock_key, token) VALUES ($order, 1)
        ON CONFLICT (lock_key) DO UPDATE SET token = excluded.token WHERE excluded.token >= token;
        INSERT INTO raw_effects (dedupe_key) VALUES ($key);
        INSERT INTO effects (order_key, event_id, number, replica, at) VALUES ($order, $id, 0, 'floor', $at);
        """;

    private readonly SqliteConnection _connection;
    private readonly SqliteCommand _apply;
    private readonly SemaphoreSlim _one = new(1, 1);

    public RawEffects(string file)
    {
        _connection = RawSqlite.Open(file, "FULL");
        using (var create = new SqliteCommand(Tables, _connection))
        {
            create.ExecuteNonQuery();
        }
        _apply = new SqliteCommand(Sql, _connection);
        foreach (var name in (string[])["$order", "$key", "$id", "$at"])
        {
            _apply.Parameters.Add(new SqliteParameter { ParameterName = name });
        }
    }

    public async Task ApplyAsync(RawEvent received)
    {
        await _one.WaitAsync();
        try
        {
            using var transaction = _connection.BeginTransaction(deferred: false);
            _apply.Transaction = transaction;
            object[] values = [received.Order, received.Key, received.EventId, Stopwatch.GetTimestamp()];
            for (var i = 0; i < values.Length; i++)
            {
                _apply.Parameters[i].Value = values[i];
            }
            _apply.ExecuteNonQuery();
            transaction.Commit();
        }
        finally
        {
            _one.Release();
        }
    }

    public void Dispose()
    {
        _apply.Dispose();
        _connection.Dispose();
        _one.Dispose();
    }
}
