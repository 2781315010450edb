using System.Data.Common;
using System.Globalization;
using System.Text;
using Scheduler.Fencing;
using Scheduler.Inbox;
using Scheduler.Locking;

namespace Scheduler.MySql.Fencing;

/// <summary>The table of fences in the application's database. Stateless and thread-safe.</summary>
internal static class FenceTable
{
    /// <summary>How long a resource's name may be, in bytes of UTF-8.</summary>
    public const int MaxResourceBytes = 1_024;

    // What the server calls them; drivers put the number beside the exception, the oldest ones nothing else.
    private const int NoSuchTable = 1146;
    private const int LockWaitTimeout = 1205;
    private const int Deadlock = 1213;
    private const int ChangedSinceRead = 1020;

    // Names are bytes: two that differ in case, accents or spaces at the end are two, whatever character set the session has.
    private const string Create = """
        CREATE TABLE IF NOT EXISTS fences (
          resource varbinary(1024) NOT NULL,
          lock_key varbinary(512) NOT NULL,
          token bigint NOT NULL,
          raised_at datetime(6) NOT NULL,
          PRIMARY KEY (resource)
        ) ENGINE = InnoDB
        """;

    // One text, so one round trip. The second statement is the transaction's first plain read: its snapshot is taken when the fence stands.
    private const string RaiseFence = """
        INSERT INTO fences (resource, lock_key, token, raised_at) VALUES (@resource, @lockKey, @token, UTC_TIMESTAMP(6))
        ON DUPLICATE KEY UPDATE
          raised_at = IF(lock_key = @lockKey AND token <= @token, UTC_TIMESTAMP(6), raised_at),
          token = IF(lock_key = @lockKey AND token <= @token, @token, token);
        SELECT lock_key, token FROM fences WHERE resource = @resource
        """;

    private const string LastOfStep = """
        SELECT max(resource) FROM (SELECT resource FROM fences WHERE resource > @after ORDER BY resource LIMIT @step) s
        """;

    private const string Prune = """
        DELETE FROM fences WHERE resource > @after AND resource <= @last AND raised_at < UTC_TIMESTAMP(6) - INTERVAL @seconds SECOND
        """;

    /// <summary>Raises a fence as the first thing of a transaction; an equal token passes.</summary>
    /// <exception cref="StaleLeaseException">A newer token has been seen.</exception>
    /// <exception cref="InvalidOperationException">Another lock key protects the resource.</exception>
    public static async Task RaiseAsync(
        DbConnection connection,
        DbTransaction transaction,
        TimeSpan limit,
        string resource,
        LockKey lockKey,
        FencingToken token,
        CancellationToken cancellationToken
    )
    {
        await using var command = Command(
            connection,
            RaiseFence,
            ("@resource", Encoding.UTF8.GetBytes(resource)),
            ("@lockKey", Encoding.UTF8.GetBytes(lockKey.Value)),
            ("@token", token.Value)
        );
        command.Transaction = transaction;
        command.CommandTimeout = Math.Max(1, (int)Math.Ceiling(limit.TotalSeconds));
        await using var reader = await command.ExecuteReaderAsync(cancellationToken);
        await reader.ReadAsync(cancellationToken);
        FenceRules.ThrowIfRefused(
            resource,
            lockKey,
            token,
            Encoding.UTF8.GetString(reader.GetFieldValue<byte[]>(0)),
            Convert.ToInt64(reader.GetValue(1), CultureInfo.InvariantCulture)
        );
    }

    /// <summary>Makes the table.</summary>
    public static async Task MakeAsync(DbConnection connection, CancellationToken cancellationToken)
    {
        await using var command = Command(connection, Create);
        await command.ExecuteNonQueryAsync(cancellationToken);
    }

    /// <summary>Forgets fences that are older, in one pass over all of them, step by step.</summary>
    public static async Task<long> PruneAsync(DbConnection connection, TimeSpan idle, CancellationToken cancellationToken)
    {
        await MakeAsync(connection, cancellationToken);
        var (total, after) = (0L, Array.Empty<byte>());
        while (true)
        {
            await using var find = Command(connection, LastOfStep, ("@after", after), ("@step", GuardRules.PruneStep));
            if (await find.ExecuteScalarAsync(cancellationToken) is not byte[] last)
            {
                return total;
            }
            await using var prune = Command(connection, Prune, ("@after", after), ("@last", last), ("@seconds", (long)idle.TotalSeconds));
            total += await prune.ExecuteNonQueryAsync(cancellationToken);
            after = last;
        }
    }

    /// <summary>Whether a statement failed because the table is missing.</summary>
    public static bool IsMissing(DbException problem) =>
        CodeOf(problem) == NoSuchTable && problem.Message.Contains("fences", StringComparison.Ordinal);

    /// <summary>Whether the server rolled back because of what others did at the same time.</summary>
    public static bool IsCollision(DbException problem) => CodeOf(problem) is Deadlock or LockWaitTimeout or ChangedSinceRead;

    private static int CodeOf(DbException problem) => problem.Data["Server Error Code"] as int? ?? 0;

    private static DbCommand Command(DbConnection connection, string sql, params ReadOnlySpan<(string Name, object Value)> parameters)
    {
        var command = connection.CreateCommand();
        command.CommandText = sql;
        foreach (var (name, value) in parameters)
        {
            var parameter = command.CreateParameter();
            (parameter.ParameterName, parameter.Value) = (name, value);
            command.Parameters.Add(parameter);
        }
        return command;
    }
}
