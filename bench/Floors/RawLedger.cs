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

    private readonly SemaphoreSlim? _oneWriter;

    /// <param name="connection">Its own connection, open.</param>
    /// <param name="oneWriter">Shared by all on a database with one writer at a time: waiting for SQLite's lock by trying again would
    /// starve some of them for seconds.</param>
    public RawLedger(DbConnection connection, SemaphoreSlim? oneWriter)
    {
        _connection = connection;
        _oneWriter = oneWriter;
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

    private async Task WriteOneAsync(DbCommand command, long id)
    {
        if (_oneWriter is not null)
        {
            await _oneWriter.WaitAsync();
        }
        try
        {
            command.Parameters[0].Value = id;
            if (await command.ExecuteNonQueryAsync() != 1)
            {
                throw new InvalidOperationException($"The hand-written statement did not write the row {id}.");
            }
        }
        finally
        {
            _oneWriter?.Release();
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
