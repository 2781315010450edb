using System.Data.Common;

namespace Scheduler.Bench.Floors;

/// <summary>
/// One row inserted and then updated, each statement a durable commit of its own, prepared, on a connection of its own: the least that
/// a hand-written "remember that this ran" does. The same SQL on SQLite and PostgreSQL.
/// </summary>
internal sealed class RawLedger : IAsyncDisposable
{
    private const string Insert = "INSERT INTO raw_runs (id, state, replica) VALUES (@id, 'running', 'bench')";
    private const string Update = "UPDATE raw_runs SET state = 'succeeded' WHERE id = @id";

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
        _insert = Command(connection, Insert);
        _update = Command(connection, Update);
        _insert.Prepare();
        _update.Prepare();
    }

    /// <summary>Makes the table once.</summary>
    public static async Task CreateTableAsync(DbConnection connection)
    {
        await using var create = connection.CreateCommand();
        create.CommandText = "CREATE TABLE raw_runs (id BIGINT PRIMARY KEY, state TEXT NOT NULL, replica TEXT NOT NULL)";
        await create.ExecuteNonQueryAsync();
    }

    /// <summary>Both statements, each on a connection that is taken from the driver's pool for it and given back.</summary>
    public static async Task CycleOnPoolAsync(Func<ValueTask<DbConnection>> open, SemaphoreSlim? oneWriter, long id)
    {
        foreach (var sql in (string[])[Insert, Update])
        {
            await InTurnAsync(
                oneWriter,
                async () =>
                {
                    await using var connection = await open();
                    await using var command = Command(connection, sql);
                    await WriteAsync(command, id);
                }
            );
        }
    }

    public Task ClaimAsync(long id) => InTurnAsync(_oneWriter, () => WriteAsync(_insert, id));

    public Task CompleteAsync(long id) => InTurnAsync(_oneWriter, () => WriteAsync(_update, id));

    public async ValueTask DisposeAsync()
    {
        await _insert.DisposeAsync();
        await _update.DisposeAsync();
        await _connection.DisposeAsync();
    }

    private static async Task InTurnAsync(SemaphoreSlim? oneWriter, Func<Task> write)
    {
        if (oneWriter is null)
        {
            await write();
            return;
        }
        await oneWriter.WaitAsync();
        try
        {
            await write();
        }
        finally
        {
            oneWriter.Release();
        }
    }

    private static async Task WriteAsync(DbCommand command, long id)
    {
        command.Parameters[0].Value = id;
        if (await command.ExecuteNonQueryAsync() != 1)
        {
            throw new InvalidOperationException($"The hand-written statement did not write the row {id}.");
        }
    }

    private static DbCommand Command(DbConnection connection, string sql)
    {
        var command = connection.CreateCommand();
        command.CommandText = sql;
        var id = command.CreateParameter();
        id.ParameterName = "@id";
        id.Value = 0L;
        command.Parameters.Add(id);
        return command;
    }
}
