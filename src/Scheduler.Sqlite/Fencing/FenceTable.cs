using System.Data.Common;
using Dapper;
using Scheduler.Fencing;
using Scheduler.Inbox;
using Scheduler.Locking;
using Scheduler.Sqlite.Files;

namespace Scheduler.Sqlite.Fencing;

/// <summary>
/// The fences of resources: the newest token that each has seen. The one mechanism behind the ledger's claim and the effects of users.
/// Works inside the transaction of its caller, which must have the write lock already. Stateless and thread-safe.
/// </summary>
internal static class FenceTable
{
    /// <summary>Makes the table. The ledger's first migration has the same text.</summary>
    public const string Create = """
        CREATE TABLE IF NOT EXISTS fences (
          group_name TEXT NOT NULL,
          resource TEXT NOT NULL,
          lock_key TEXT NOT NULL,
          token INTEGER NOT NULL,
          raised_at INTEGER NOT NULL,
          PRIMARY KEY (group_name, resource)
        ) WITHOUT ROWID
        """;

    private const string RaiseFence = """
        INSERT INTO fences (group_name, resource, lock_key, token, raised_at)
        VALUES (@group, @resource, @lockKey, @token, CAST(strftime('%s', 'now') AS INTEGER) * 1000)
        ON CONFLICT (group_name, resource) DO UPDATE SET token = excluded.token, raised_at = excluded.raised_at
        WHERE excluded.token >= fences.token AND excluded.lock_key = fences.lock_key
        """;

    private const string ReadFence = "SELECT lock_key, token FROM fences WHERE group_name = @group AND resource = @resource";

    private const string LastOfStep = """
        SELECT max(resource) FROM (SELECT resource FROM fences WHERE group_name = '' AND resource > @after ORDER BY resource LIMIT @step)
        """;

    private const string Prune = """
        DELETE FROM fences WHERE group_name = '' AND resource > @after AND resource <= @last
          AND raised_at < (CAST(strftime('%s', 'now') AS INTEGER) - @seconds) * 1000
        """;

    /// <summary>Forgets fences of the application that are older, in one pass over all of them, step by step.</summary>
    public static async ValueTask<long> PruneAsync(DbConnection connection, TimeSpan idle, CancellationToken cancellationToken)
    {
        var seconds = (long)idle.TotalSeconds;
        var (total, after) = (0L, "");
        while (connection.QuerySingle<string?>(LastOfStep, new { after, step = GuardRules.PruneStep }) is { } last)
        {
            total += connection.Execute(
                Prune,
                new
                {
                    after,
                    last,
                    seconds,
                }
            );
            after = last;
            // Others may write in between.
            await Task.Yield();
            cancellationToken.ThrowIfCancellationRequested();
        }
        return total;
    }

    /// <summary>Raises a fence; an equal token passes.</summary>
    /// <returns><see langword="null"/> when it is raised, or the newer token that refused.</returns>
    /// <exception cref="InvalidOperationException">Another lock key protects the resource.</exception>
    public static FencingToken? Raise(
        DbConnection connection,
        DbTransaction? transaction,
        string group,
        string resource,
        LockKey lockKey,
        FencingToken token
    )
    {
        var raised = connection.ExecutePrepared(
            transaction,
            RaiseFence,
            ("@group", group),
            ("@resource", resource),
            ("@lockKey", lockKey.Value),
            ("@token", token.Value)
        );
        if (raised > 0)
        {
            return null;
        }
        var (key, newest) = connection.QuerySingle<(string Key, long Newest)>(ReadFence, new { group, resource }, transaction);
        return key == lockKey.Value ? new FencingToken(newest) : throw FenceRules.OtherKey(resource, lockKey, key);
    }
}
