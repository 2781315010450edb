using System.Data.Common;
using Npgsql;
using Scheduler.Fencing;
using Scheduler.Locking;

namespace Scheduler.Postgres.Fencing;

/// <summary>One fenced transaction on a PostgreSQL database of the application. For one call.</summary>
/// <param name="database">The application's data source.</param>
/// <param name="options">Schema, limit and isolation.</param>
/// <param name="resource">What is protected.</param>
/// <param name="lockKey">The key that protects it.</param>
/// <param name="token">The caller's token.</param>
/// <param name="note">The effect that is noted in the round trip that raises the fence, if it is one.</param>
internal sealed class PostgresFencedTransaction(
    NpgsqlDataSource database,
    PostgresFenceOptions options,
    string resource,
    LockKey lockKey,
    FencingToken token,
    EffectNote? note
) : FencedTransaction(resource, lockKey, token, options.Limit, options.Isolation)
{
    /// <summary>Where the effect stood, for the work; <see langword="null"/> when it is noted now.</summary>
    public string? Before { get; private set; }

    protected override string SessionList => "pg_stat_activity";

    protected override async ValueTask<DbConnection> OpenAsync(CancellationToken cancellationToken) =>
        await database.OpenConnectionAsync(cancellationToken);

    protected override async Task RaiseAsync(DbConnection connection, DbTransaction transaction, CancellationToken cancellationToken) =>
        Before = await new GuardStatements((NpgsqlConnection)connection, (NpgsqlTransaction)transaction, options).RaiseAsync(
            Resource,
            LockKey,
            Token,
            note,
            cancellationToken
        );

    protected override bool IsMissing(DbException problem) => problem is PostgresException missing && GuardTables.AreMissing(missing);

    protected override Task MakeTableAsync(DbConnection connection, CancellationToken cancellationToken) =>
        GuardTables.MakeAsync((NpgsqlConnection)connection, options, cancellationToken);

    protected override bool IsCollision(DbException problem) => problem.SqlState is "40001" or "40P01";

    protected override DbException Late(string message, Exception inner) => new NpgsqlException(message, inner);
}
