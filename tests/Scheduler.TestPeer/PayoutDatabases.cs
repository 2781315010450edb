using System.Data.Common;
using MySqlConnector;
using Npgsql;
using Scheduler.Locking;
using Scheduler.MySql.Fencing;
using Scheduler.Postgres.Fencing;
using Scheduler.Redis;
using Scheduler.Redis.Fencing;
using Scheduler.Sqlite;
using Scheduler.Sqlite.Fencing;
using StackExchange.Redis;

namespace Scheduler.TestPeer;

public sealed class SqlitePayouts(string file) : SqlPayouts(SqliteDatabase.Create($"Data Source={file}"))
{
    protected override bool ReadsInTransaction => false;

    public override ValueTask<T> FencedAsync<T>(
        string resource,
        LockKey key,
        FencingToken token,
        Func<DbConnection, DbTransaction, CancellationToken, ValueTask<T>> work,
        CancellationToken cancellationToken
    ) => SqliteFence.RunAsync(Database, resource, key, token, work, cancellationToken);

    protected override Task RaiseAsync(DbConnection connection, DbTransaction transaction, FencingToken token) =>
        Sqlite.Fencing.FenceTable.Raise(connection, transaction, "", Resource, Key, token) is { } newest
            ? throw new StaleLeaseException(Resource, Key, token, newest)
            : Task.CompletedTask;
}

public sealed class PostgresPayouts(string connectionString, TimeSpan? limit = null) : SqlPayouts(NpgsqlDataSource.Create(connectionString))
{
    private readonly PostgresFenceOptions _options = limit is { } own ? new() { Limit = own } : new();

    public override ValueTask<T> FencedAsync<T>(
        string resource,
        LockKey key,
        FencingToken token,
        Func<DbConnection, DbTransaction, CancellationToken, ValueTask<T>> work,
        CancellationToken cancellationToken
    ) => PostgresFence.RunAsync((NpgsqlDataSource)Database, _options, resource, key, token, work, cancellationToken);

    protected override Task RaiseAsync(DbConnection connection, DbTransaction transaction, FencingToken token) =>
        new GuardStatements((NpgsqlConnection)connection, (NpgsqlTransaction)transaction, _options).RaiseAsync(
            Resource,
            Key,
            token,
            note: null,
            CancellationToken.None
        );
}

public sealed class MySqlPayouts(string connectionString, TimeSpan? limit = null)
    : SqlPayouts(MySqlConnectorFactory.Instance.CreateDataSource(connectionString))
{
    private readonly MySqlFenceOptions _options = limit is { } own ? new() { Limit = own } : new();

    public override ValueTask<T> FencedAsync<T>(
        string resource,
        LockKey key,
        FencingToken token,
        Func<DbConnection, DbTransaction, CancellationToken, ValueTask<T>> work,
        CancellationToken cancellationToken
    ) => MySqlFence.RunAsync(Database, _options, resource, key, token, work, cancellationToken);

    protected override Task RaiseAsync(DbConnection connection, DbTransaction transaction, FencingToken token) =>
        MySql.Fencing.FenceTable.RaiseAsync(connection, transaction, _options.Limit, Resource, Key, token, CancellationToken.None);
}

/// <summary>The same in a list; a script has nothing in between.</summary>
public sealed class RedisPayouts(string connectionString) : Payouts
{
    private const string Script = """
        if redis.call('LLEN', KEYS[1]) > 0 then return 0 end
        redis.call('RPUSH', KEYS[1], ARGV[1])
        return 1
        """;

    private readonly ConnectionMultiplexer _connection = ConnectionMultiplexer.Connect(connectionString);

    public IDatabase Database => _connection.GetDatabase();

    public override Task CreateAsync() => Task.CompletedTask;

    public override async Task<IReadOnlyList<long>> PaidAsync() =>
        [.. (await Database.ListRangeAsync(Resource)).Select(token => (long)token)];

    public override async Task<int> PayAsync(
        long token,
        LockKey? key = null,
        string resource = Resource,
        Func<Task>? between = null,
        CancellationToken cancellationToken = default
    )
    {
        if (between is not null)
        {
            throw new NotSupportedException("A script has nothing in between.");
        }
        return (int)
            await RedisFence.RunAsync(
                Database,
                resource,
                key ?? Key,
                new FencingToken(token),
                Script,
                [Resource],
                [token],
                cancellationToken
            );
    }

    public override async Task PayPlainlyAsync(long token) => await Database.ScriptEvaluateAsync(Script, [Resource], [token]);

    /// <summary>Wrong: pays first and raises the fence then.</summary>
    public async Task PayWithTheFenceLastAsync(long token)
    {
        var order = $"redis.call('RPUSH', KEYS[2], ARGV[2]){RedisScript.Load("fence").Text} return 1{RedisScript.Load("fence-end").Text}";
        await Database.ScriptEvaluateAsync(order, [$"fence:{Resource}", Resource], [Key.Value, token, 60]);
    }

    public override async ValueTask DisposeAsync()
    {
        await _connection.CloseAsync();
        _connection.Dispose();
    }
}
