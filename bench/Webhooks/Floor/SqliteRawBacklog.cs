using Microsoft.Data.Sqlite;
using Scheduler.Bench.Floors;

namespace Scheduler.Bench.Webhooks.Floor;

/// <summary>Events that wait in a WAL file with <c>synchronous=FULL</c>, on one connection.</summary>
internal sealed class SqliteRawBacklog : IRawBacklog
{
    private const string Take = """
        UPDATE raw_inbox SET state = 'processing', due_at = $until, attempts = attempts + 1
        WHERE number IN (SELECT number FROM raw_inbox WHERE state = 'received' ORDER BY number LIMIT $limit)
        RETURNING dedupe_key, order_key, event_id, event_type, body
        """;

    private const string Done = "UPDATE raw_inbox SET state = 'done', due_at = NULL, finished_at = $at WHERE dedupe_key = $key";

    private readonly SqliteConnection _connection;
    private readonly SqliteCommand _take;
    private readonly SqliteCommand _done;
    private readonly SemaphoreSlim _one = new(1, 1);
    private readonly RawEffects _effects;

    public SqliteRawBacklog(DrainSetup setup)
    {
        _effects = new RawEffects(setup.Effects);
        _connection = RawSqlite.Open(setup.Address, "FULL");
        Execute(SqliteRawInbox.Create);
        Execute("ALTER TABLE raw_inbox ADD due_at INTEGER");
        Execute("ALTER TABLE raw_inbox ADD attempts INTEGER NOT NULL DEFAULT 0");
        Execute("ALTER TABLE raw_inbox ADD finished_at INTEGER");
        Execute("CREATE INDEX raw_due ON raw_inbox (number) WHERE state = 'received'");
        _take = Command(Take, "$until", "$limit");
        _done = Command(Done, "$at", "$key");
    }

    public Task FillAsync(IReadOnlyList<RawEvent> events)
    {
        using var transaction = _connection.BeginTransaction(deferred: false);
        using var insert = Command(SqliteRawInbox.Insert, SqliteRawInbox.Names);
        insert.Transaction = transaction;
        foreach (var received in events)
        {
            SqliteRawInbox.Fill(insert, received);
            insert.ExecuteNonQuery();
        }
        transaction.Commit();
        return Task.CompletedTask;
    }

    public Task<IReadOnlyList<RawEvent>> TakeAsync(int limit) =>
        InTurnAsync<IReadOnlyList<RawEvent>>(() =>
        {
            _take.Parameters[0].Value = (TimeProvider.System.GetUtcNow() + TimeSpan.FromSeconds(10)).ToUnixTimeMilliseconds();
            _take.Parameters[1].Value = limit;
            var events = new List<RawEvent>();
            using var reader = _take.ExecuteReader();
            while (reader.Read())
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
        });

    public async Task ProcessAsync(RawEvent received, BenchEvent payload)
    {
        await _effects.ApplyAsync(received);
        await InTurnAsync(() =>
        {
            _done.Parameters[0].Value = TimeProvider.System.GetUtcNow().ToUnixTimeMilliseconds();
            _done.Parameters[1].Value = received.Key;
            return _done.ExecuteNonQuery();
        });
    }

    public ValueTask DisposeAsync()
    {
        _take.Dispose();
        _done.Dispose();
        _connection.Dispose();
        _effects.Dispose();
        _one.Dispose();
        return ValueTask.CompletedTask;
    }

    private async Task<T> InTurnAsync<T>(Func<T> work)
    {
        await _one.WaitAsync();
        try
        {
            return work();
        }
        finally
        {
            _one.Release();
        }
    }

    private SqliteCommand Command(string sql, params string[] parameters)
    {
        var command = new SqliteCommand(sql, _connection);
        foreach (var name in parameters)
        {
            command.Parameters.Add(new SqliteParameter { ParameterName = name });
        }
        return command;
    }

    private void Execute(string sql)
    {
        using var command = Command(sql);
        command.ExecuteNonQuery();
    }
}
