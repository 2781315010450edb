using System.Data.Common;

namespace Scheduler.Bench.Floors;

/// <summary>
/// One row inserted and then updated, each statement a durable commit of its own, prepared, on a connection of its own: the least that
/// a hand-written "remember that this ran" does. The same SQL on SQLite and PostgreSQL.
/// </summary>
internal sealed class RawLedger : IAsyncDisposable
{
    private readonly DbConnection _connection;
    private readonly DbCommand _insert;
    private readonly DbCommand _update;

    public RawLedger(DbConnection connection)
    {
        _connection = connection;
        _insert = Command("INSERT INTO raw_runs (id, state, replica) VALUES (@id, 'running', 'bench')");
        _update = Command("UPDATE raw_runs SET state = 'succeeded' WHERE id = @id");
    }

    /// <summary>Makes the table once.</summary>
    public static async Task CreateTableAsync(DbConnection connection)
    {
        await using var create = connection.CreateCommand();
        create.CommandText = "CREATE TABLE raw_runs (id BIGINT PRIMARY KEY, state TEXT NOT NULL, replica TEXT NOT NULL)";
        await create.ExecuteNonQueryAsync();
    }

    public Task ClaimAsync(long id) => WriteOneAsync(_insert, id);

    public Task CompleteAsync(long id) => WriteOneAsync(_update, id);

    public async ValueTask DisposeAsync()
    {
        await _insert.DisposeAsync();
        await _update.DisposeAsync();
        await _connection.DisposeAsync();
    }

    private static async Task WriteOneAsync(DbCommand command, long id)
    {
        command.Parameters[0].Value = id;
        if (await command.ExecuteNonQueryAsync() != 1)
        {
            throw new InvalidOperationException($"The hand-written statement did not write the row {id}.");
        }
    }

    private DbCommand Command(string sql)
    {
        var command = _connection.CreateCommand();
        command.CommandText = sql;
        var id = command.CreateParameter();
        id.ParameterName = "@id";
        id.Value = 0L;
        command.Parameters.Add(id);
        command.Prepare();
        return command;
    }
}
