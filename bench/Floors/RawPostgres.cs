using System.Collections.Concurrent;
using Npgsql;
using NpgsqlTypes;

namespace Scheduler.Bench.Floors;

/// <summary>
/// A row inserted and deleted, prepared, each change a durable commit: over one connection, where those that meet go together, deletes
/// first, in one round trip and one commit; or each on a connection that is taken from the driver's pool for it.
/// </summary>
internal sealed class RawPostgres : IRawLock
{
    // Processes that make a table do so one after the other, or PostgreSQL refuses one.
    private const string Make = """
        SELECT pg_advisory_xact_lock(1);
        CREATE TABLE IF NOT EXISTS raw_locks (key text PRIMARY KEY, owner text NOT NULL, until timestamptz NOT NULL)
        """;
    private const string Take = """
        INSERT INTO raw_locks (key, owner, until) VALUES ($1, $2, clock_timestamp() + $3) ON CONFLICT (key) DO NOTHING RETURNING key
        """;
    private const string TakeMany = """
        INSERT INTO raw_locks (key, owner, until) SELECT k, o, clock_timestamp() + d FROM unnest($1, $2, $3) AS a(k, o, d) ORDER BY k
        ON CONFLICT (key) DO NOTHING RETURNING key
        """;
    private const string Free = "DELETE FROM raw_locks WHERE key = $1 AND owner = $2 RETURNING key";
    private const string FreeMany =
        "DELETE FROM raw_locks r USING unnest($1, $2) AS a(k, o) WHERE r.key = a.k AND r.owner = a.o RETURNING r.key";
    private const string Renew = "UPDATE raw_locks SET until = clock_timestamp() + $3 WHERE key = ANY ($1) AND owner = $2";
    private const string TakeOrTakeOver = """
        INSERT INTO raw_locks AS r (key, owner, until) VALUES ($1, $2, clock_timestamp() + $3)
        ON CONFLICT (key) DO UPDATE SET owner = excluded.owner, until = excluded.until WHERE r.until < clock_timestamp() RETURNING key
        """;

    private readonly NpgsqlDataSource _source;
    private readonly bool _pooled;
    private readonly NpgsqlConnection _connection;
    private readonly Lock _gate = new();
    private readonly CancellationTokenSource _ended = new();
    private readonly ConcurrentBag<Task> _lives = [];
    private List<Call> _waiting = [];
    private bool _busy;

    /// <summary>Connects, and makes the table.</summary>
    /// <param name="connectionString">Where the server is.</param>
    /// <param name="pooled">Whether each operation has a connection from the pool.</param>
    public RawPostgres(string connectionString, bool pooled)
    {
        _pooled = pooled;
        _source = NpgsqlDataSource.Create(
            new NpgsqlConnectionStringBuilder(connectionString) { NoResetOnClose = true, MaxPoolSize = 100 }.ConnectionString
        );
        _connection = _source.OpenConnection();
        using var make = new NpgsqlCommand(Make, _connection);
        make.ExecuteNonQuery();
    }

    public ValueTask<bool> TakeAsync(string key, string owner, TimeSpan duration) => ChangeAsync(new Call(key, owner, duration));

    public ValueTask<bool> FreeAsync(string key, string owner) => ChangeAsync(new Call(key, owner, null));

    public async ValueTask RenewAsync(IReadOnlyList<string> keys, string owner, TimeSpan duration)
    {
        await using var connection = await _source.OpenConnectionAsync();
        await using var command = new NpgsqlCommand(Renew, connection);
        Add(command.Parameters, NpgsqlDbType.Array | NpgsqlDbType.Text, keys.ToArray());
        Add(command.Parameters, NpgsqlDbType.Text, owner);
        Add(command.Parameters, NpgsqlDbType.Interval, duration);
        await command.PrepareAsync();
        await command.ExecuteNonQueryAsync();
    }

    public async ValueTask<bool> TakeForLifeAsync(string key, TimeSpan duration)
    {
        var owner = Guid.NewGuid().ToString("n");
        await using (var connection = await _source.OpenConnectionAsync())
        {
            await using var command = Single(new Call(key, owner, duration), connection, TakeOrTakeOver);
            if (await command.ExecuteScalarAsync() is null)
            {
                return false;
            }
        }
        _lives.Add(RenewForEverAsync());
        return true;

        async Task RenewForEverAsync()
        {
            while (!_ended.IsCancellationRequested)
            {
                await Task.Delay(duration / 3, TimeProvider.System, _ended.Token).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
                await RenewAsync([key], owner, duration);
            }
        }
    }

    public async ValueTask DisposeAsync()
    {
        await _ended.CancelAsync();
        await Task.WhenAll(_lives);
        _ended.Dispose();
        await _connection.DisposeAsync();
        await _source.DisposeAsync();
    }

    private async ValueTask<bool> ChangeAsync(Call call)
    {
        if (_pooled)
        {
            await using var connection = await _source.OpenConnectionAsync();
            return await OneAsync(call, connection);
        }
        if (!TryBegin(call))
        {
            return await call.Task;
        }
        try
        {
            return await OneAsync(call, _connection);
        }
        finally
        {
            _ = Task.Run(PumpAsync);
        }
    }

    /// <summary>Whether the call is sent alone, by its own thread; else it waits.</summary>
    private bool TryBegin(Call call)
    {
        lock (_gate)
        {
            if (_busy)
            {
                _waiting.Add(call);
                return false;
            }
            return _busy = true;
        }
    }

    private async Task PumpAsync()
    {
        while (true)
        {
            List<Call> group;
            lock (_gate)
            {
                if (_waiting.Count == 0)
                {
                    _busy = false;
                    return;
                }
                (group, _waiting) = (_waiting, []);
            }
            try
            {
                await ManyAsync(group);
            }
            catch (Exception problem)
            {
                group.ForEach(c => c.TrySetException(problem));
            }
        }
    }

    private static async Task<bool> OneAsync(Call call, NpgsqlConnection connection)
    {
        await using var command = Single(call, connection, call.Duration is null ? Free : Take);
        await command.PrepareAsync();
        return await command.ExecuteScalarAsync() is not null;
    }

    private async Task ManyAsync(List<Call> group)
    {
        var (frees, takes) = (group.FindAll(c => c.Duration is null), group.FindAll(c => c.Duration is not null));
        await using var batch = new NpgsqlBatch(_connection);
        if (frees.Count > 0)
        {
            AddTo(batch, FreeMany, frees);
        }
        if (takes.Count > 0)
        {
            var parameters = AddTo(batch, TakeMany, takes);
            Add(parameters, NpgsqlDbType.Array | NpgsqlDbType.Interval, takes.ConvertAll(c => c.Duration!.Value).ToArray());
        }
        await batch.PrepareAsync();
        await using var reader = await batch.ExecuteReaderAsync();
        foreach (var calls in (List<Call>[])[frees, takes])
        {
            if (calls.Count == 0)
            {
                continue;
            }
            var done = new HashSet<string>(StringComparer.Ordinal);
            while (await reader.ReadAsync())
            {
                done.Add(reader.GetString(0));
            }
            await reader.NextResultAsync();
            calls.ForEach(c => c.Done = done.Contains(c.Key));
        }
        group.ForEach(c => c.TrySetResult(c.Done));
    }

    private static NpgsqlParameterCollection AddTo(NpgsqlBatch batch, string sql, List<Call> calls)
    {
        var command = new NpgsqlBatchCommand(sql);
        batch.BatchCommands.Add(command);
        Add(command.Parameters, NpgsqlDbType.Array | NpgsqlDbType.Text, calls.ConvertAll(c => c.Key).ToArray());
        Add(command.Parameters, NpgsqlDbType.Array | NpgsqlDbType.Text, calls.ConvertAll(c => c.Owner).ToArray());
        return command.Parameters;
    }

    private static NpgsqlCommand Single(Call call, NpgsqlConnection connection, string sql)
    {
        var command = new NpgsqlCommand(sql, connection);
        Add(command.Parameters, NpgsqlDbType.Text, call.Key);
        Add(command.Parameters, NpgsqlDbType.Text, call.Owner);
        if (call.Duration is { } duration)
        {
            Add(command.Parameters, NpgsqlDbType.Interval, duration);
        }
        return command;
    }

    private static void Add(NpgsqlParameterCollection parameters, NpgsqlDbType type, object value) =>
        parameters.Add(new NpgsqlParameter { NpgsqlDbType = type, Value = value });

    private sealed class Call(string key, string owner, TimeSpan? duration)
        : TaskCompletionSource<bool>(TaskCreationOptions.RunContinuationsAsynchronously)
    {
        public string Key => key;

        public string Owner => owner;

        /// <summary>None: it frees the key.</summary>
        public TimeSpan? Duration => duration;

        public bool Done { get; set; }
    }
}
