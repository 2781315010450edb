using System.Data.Common;
using Dapper;
using Scheduler.Locking;

namespace Scheduler.TestPeer;

/// <summary>A resource of an application: what is due is paid once, by whoever holds the lock. Each database has it alike.</summary>
public abstract class Payouts : IAsyncDisposable
{
    public const string Resource = "payouts";

    public static readonly LockKey Key = LockKey.From("job:pay");

    /// <summary>Opens what a test has made.</summary>
    /// <param name="kind"><c>sqlite</c>, <c>postgres</c>, <c>mysql</c> or <c>redis</c>.</param>
    /// <param name="place">A file of SQLite, or a connection string.</param>
    /// <param name="limit">How long fenced work may take, where that can be said.</param>
    public static Payouts Open(string kind, string place, TimeSpan? limit = null) =>
        kind switch
        {
            "sqlite" => new SqlitePayouts(place),
            "postgres" => new PostgresPayouts(place, limit),
            "mysql" => new MySqlPayouts(place, limit),
            "redis" => new RedisPayouts(place),
            _ => throw new ArgumentOutOfRangeException(nameof(kind), kind, "There is no such kind."),
        };

    /// <summary>Makes it where it is not.</summary>
    public abstract Task CreateAsync();

    /// <summary>The tokens of those who paid.</summary>
    public abstract Task<IReadOnlyList<long>> PaidAsync();

    /// <summary>Looks whether it is paid and pays if it is not, in one fenced transaction or script.</summary>
    /// <param name="token">The payer's.</param>
    /// <param name="key">The payer's lock key.</param>
    /// <param name="resource">What is fenced.</param>
    /// <param name="between">What happens between the look and the payment, where there is anything in between.</param>
    /// <param name="cancellationToken">Ends it.</param>
    /// <returns>How many payments it made: 1 or 0.</returns>
    public abstract Task<int> PayAsync(
        long token,
        LockKey? key = null,
        string resource = Resource,
        Func<Task>? between = null,
        CancellationToken cancellationToken = default
    );

    /// <summary>The same without a fence.</summary>
    public abstract Task PayPlainlyAsync(long token);

    public abstract ValueTask DisposeAsync();
}

/// <summary>The same in a table.</summary>
public abstract class SqlPayouts(DbDataSource database) : Payouts
{
    private const string Count = "SELECT count(*) FROM payouts";
    private const string Insert = "INSERT INTO payouts VALUES (@token)";

    public DbDataSource Database => database;

    /// <summary>Where a transaction takes the right to write at its beginning, a wrong order must read before it.</summary>
    protected virtual bool ReadsInTransaction => true;

    public override Task CreateAsync() => ExecuteAsync("CREATE TABLE payouts (token bigint)");

    public override async Task<IReadOnlyList<long>> PaidAsync()
    {
        await using var connection = await database.OpenConnectionAsync();
        return (await connection.QueryAsync<long>("SELECT token FROM payouts ORDER BY token")).AsList();
    }

    public override async Task<int> PayAsync(
        long token,
        LockKey? key = null,
        string resource = Resource,
        Func<Task>? between = null,
        CancellationToken cancellationToken = default
    ) =>
        await FencedAsync(
            resource,
            key ?? Key,
            new FencingToken(token),
            async (connection, transaction, _) =>
            {
                var isPaid = await connection.ExecuteScalarAsync<long>(Count, transaction: transaction) > 0;
                if (between is not null)
                {
                    await between();
                }
                return isPaid ? 0 : await connection.ExecuteAsync(Insert, new { token }, transaction);
            },
            cancellationToken
        );

    public override async Task PayPlainlyAsync(long token)
    {
        await using var connection = await database.OpenConnectionAsync();
        await using var transaction = await connection.BeginTransactionAsync();
        if (await connection.ExecuteScalarAsync<long>(Count, transaction: transaction) == 0)
        {
            await connection.ExecuteAsync(Insert, new { token }, transaction);
        }
        await transaction.CommitAsync();
    }

    /// <summary>Wrong: looks and decides first, and raises the fence when it pays.</summary>
    public async Task<int> PayWithTheFenceLastAsync(long token, Func<Task>? between = null)
    {
        await using var connection = await database.OpenConnectionAsync();
        DbTransaction? transaction = ReadsInTransaction ? await connection.BeginTransactionAsync() : null;
        var isPaid = await connection.ExecuteScalarAsync<long>(Count, transaction: transaction) > 0;
        if (between is not null)
        {
            await between();
        }
        await using var writing = transaction ?? await connection.BeginTransactionAsync();
        var rows = isPaid ? 0 : await connection.ExecuteAsync(Insert, new { token }, writing);
        await RaiseAsync(connection, writing, new FencingToken(token));
        await writing.CommitAsync();
        return rows;
    }

    public async Task ExecuteAsync(string sql)
    {
        await using var connection = await database.OpenConnectionAsync();
        await connection.ExecuteAsync(sql);
    }

    public override ValueTask DisposeAsync()
    {
        GC.SuppressFinalize(this);
        return database.DisposeAsync();
    }

    /// <summary>The helper of this database.</summary>
    public abstract ValueTask<T> FencedAsync<T>(
        string resource,
        LockKey key,
        FencingToken token,
        Func<DbConnection, DbTransaction, CancellationToken, ValueTask<T>> work,
        CancellationToken cancellationToken
    );

    protected abstract Task RaiseAsync(DbConnection connection, DbTransaction transaction, FencingToken token);
}
