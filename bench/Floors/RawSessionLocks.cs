using System.Collections.Concurrent;
using Npgsql;
using NpgsqlTypes;

namespace Scheduler.Bench.Floors;

/// <summary>
/// pg_try_advisory_lock and pg_advisory_unlock, prepared: over one connection, where those that meet go together, unlocks first; or each
/// lock on a connection that is taken from the driver's pool for it. Knows nothing of what a lock is for.
/// </summary>
internal sealed class RawSessionLocks : IRawLock
{
    private readonly NpgsqlDataSource _source;
    private readonly bool _pooled;
    private readonly NpgsqlConnection _connection;
    private readonly NpgsqlCommand _take;
    private readonly NpgsqlCommand _free;
    private readonly NpgsqlCommand _many;
    private readonly ConcurrentDictionary<long, NpgsqlConnection> _byLock = new();
    private readonly Lock _gate = new();
    private List<Call> _waiting = [];
    private bool _busy;

    /// <param name="connectionString">Where the server is.</param>
    /// <param name="pooled">Whether each lock has a connection from the pool.</param>
    public RawSessionLocks(string connectionString, bool pooled)
    {
        _pooled = pooled;
        _source = NpgsqlDataSource.Create(
            new NpgsqlConnectionStringBuilder(connectionString) { NoResetOnClose = true, MaxPoolSize = 280 }.ConnectionString
        );
        _connection = _source.OpenConnection();
        _take = Prepared("SELECT pg_try_advisory_lock($1)", NpgsqlDbType.Bigint);
        _free = Prepared("SELECT pg_advisory_unlock($1)", NpgsqlDbType.Bigint);
        _many = Prepared(
            "SELECT ARRAY(SELECT pg_advisory_unlock(w) FROM unnest($1) AS w), ARRAY(SELECT pg_try_advisory_lock(w) FROM unnest($2) AS w)",
            NpgsqlDbType.Array | NpgsqlDbType.Bigint,
            NpgsqlDbType.Array | NpgsqlDbType.Bigint
        );
    }

    /// <summary>The number of a key's lock.</summary>
    public static long WordOf(string key) => key.Aggregate(1_469_598_103_934_665_603L, (hash, c) => (hash ^ c) * 1_099_511_628_211L);

    public ValueTask<bool> TakeAsync(string key, string owner, TimeSpan duration) => ChangeAsync(new Call(WordOf(key), IsTake: true));

    public ValueTask<bool> FreeAsync(string key, string owner) => ChangeAsync(new Call(WordOf(key), IsTake: false));

    /// <summary>Nothing has to be renewed but the proof that the session lives.</summary>
    public async ValueTask RenewAsync(IReadOnlyList<string> keys, string owner, TimeSpan duration)
    {
        await using var command = _source.CreateCommand("SELECT 1");
        await command.ExecuteScalarAsync();
    }

    public ValueTask<bool> TakeForLifeAsync(string key, TimeSpan duration) => TakeAsync(key, "", duration);

    public async ValueTask DisposeAsync()
    {
        await _take.DisposeAsync();
        await _free.DisposeAsync();
        await _many.DisposeAsync();
        await _connection.DisposeAsync();
        await _source.DisposeAsync();
    }

    private async ValueTask<bool> ChangeAsync(Call call)
    {
        if (_pooled)
        {
            return await PooledAsync(call);
        }
        lock (_gate)
        {
            if (_busy)
            {
                _waiting.Add(call);
            }
            else
            {
                _busy = true;
                call.IsAlone = true;
            }
        }
        if (!call.IsAlone)
        {
            return await call.Answer.Task;
        }
        try
        {
            var command = call.IsTake ? _take : _free;
            command.Parameters[0].Value = call.Word;
            return (bool)(await command.ExecuteScalarAsync())!;
        }
        finally
        {
            if (TakeWaiting() is { } group)
            {
                _ = Task.Run(() => PumpAsync(group));
            }
        }
    }

    private List<Call>? TakeWaiting()
    {
        lock (_gate)
        {
            if (_waiting.Count == 0)
            {
                _busy = false;
                return null;
            }
            var group = _waiting;
            _waiting = [];
            return group;
        }
    }

    private async Task PumpAsync(List<Call>? group)
    {
        for (; group is not null; group = TakeWaiting())
        {
            try
            {
                await ManyAsync(group);
            }
            catch (Exception problem)
            {
                group.ForEach(c => c.Answer.TrySetException(problem));
            }
        }
    }

    private async Task ManyAsync(List<Call> group)
    {
        var (frees, takes) = (group.FindAll(c => !c.IsTake), group.FindAll(c => c.IsTake));
        _many.Parameters[0].Value = frees.ConvertAll(c => c.Word).ToArray();
        _many.Parameters[1].Value = takes.ConvertAll(c => c.Word).ToArray();
        bool[] freed;
        bool[] taken;
        await using (var reader = await _many.ExecuteReaderAsync())
        {
            await reader.ReadAsync();
            (freed, taken) = (reader.GetFieldValue<bool[]>(0), reader.GetFieldValue<bool[]>(1));
        }
        for (var i = 0; i < freed.Length; i++)
        {
            frees[i].Answer.SetResult(freed[i]);
        }
        for (var i = 0; i < taken.Length; i++)
        {
            takes[i].Answer.SetResult(taken[i]);
        }
    }

    private async ValueTask<bool> PooledAsync(Call call)
    {
        var connection = call.IsTake ? await _source.OpenConnectionAsync() : _byLock[call.Word];
        await using var command = new NpgsqlCommand(
            call.IsTake ? "SELECT pg_try_advisory_lock($1)" : "SELECT pg_advisory_unlock($1)",
            connection
        );
        command.Parameters.Add(new NpgsqlParameter<long> { TypedValue = call.Word });
        await command.PrepareAsync();
        var done = (bool)(await command.ExecuteScalarAsync())!;
        if (call.IsTake && done)
        {
            _byLock[call.Word] = connection;
        }
        else
        {
            _byLock.TryRemove(call.Word, out _);
            await connection.DisposeAsync();
        }
        return done;
    }

    private NpgsqlCommand Prepared(string sql, params NpgsqlDbType[] types)
    {
#pragma warning disable CA2100 // Texts of this class.
        var command = new NpgsqlCommand(sql, _connection);
#pragma warning restore CA2100
        Array.ForEach(types, type => command.Parameters.Add(new NpgsqlParameter { NpgsqlDbType = type }));
        command.Prepare();
        return command;
    }

    private sealed record Call(long Word, bool IsTake)
    {
        public bool IsAlone { get; set; }

        public TaskCompletionSource<bool> Answer { get; } = new(TaskCreationOptions.RunContinuationsAsynchronously);
    }
}

/// <summary>Two processes that lock and unlock in turn, each waiting in pg_advisory_lock on a connection of its own.</summary>
internal sealed class SessionHandOff : IRawHandOff
{
    private readonly NpgsqlConnection _connection;

    /// <param name="connectionString">Where the server is.</param>
    public SessionHandOff(string connectionString)
    {
        _connection = new NpgsqlConnection(connectionString);
        _connection.Open();
    }

    public Task TakeAsync(CancellationToken cancellationToken) => ExecuteAsync("SELECT pg_advisory_lock(4711)", cancellationToken);

    public Task PassAsync() => ExecuteAsync("SELECT pg_advisory_unlock(4711)", CancellationToken.None);

    public ValueTask DisposeAsync() => _connection.DisposeAsync();

    private async Task ExecuteAsync(string sql, CancellationToken cancellationToken)
    {
#pragma warning disable CA2100 // Texts of this class.
        await using var command = new NpgsqlCommand(sql, _connection);
#pragma warning restore CA2100
        await command.PrepareAsync(cancellationToken);
        await command.ExecuteNonQueryAsync(cancellationToken);
    }
}
