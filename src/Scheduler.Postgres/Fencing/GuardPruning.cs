using Npgsql;
using Scheduler.Inbox;
using Scheduler.Postgres.State;

namespace Scheduler.Postgres.Fencing;

/// <summary>Forgets old fences and effects in one pass over their keys, step by step, each a transaction of its own. Stateless and
/// thread-safe.</summary>
internal static class GuardPruning
{
    // What one step may take; it looks at as many rows as GuardRules says.
    private const int StepSeconds = 30;

    public static Task<long> FencesAsync(
        NpgsqlDataSource database,
        PostgresFenceOptions options,
        TimeSpan idle,
        CancellationToken cancellationToken
    ) =>
        PruneAsync(
            database,
            options,
            $"""
            WITH step AS MATERIALIZED (
              SELECT f.resource FROM "{options.Schema}".fences f WHERE f.group_name = '' AND f.resource > $1
              ORDER BY f.resource LIMIT $3),
            gone AS (
              DELETE FROM "{options.Schema}".fences f USING step s
              WHERE f.group_name = '' AND f.resource = s.resource AND f.raised_at < clock_timestamp() - $2 RETURNING 1)
            SELECT (SELECT count(*) FROM gone), s.resource FROM step s ORDER BY s.resource DESC LIMIT 1
            """,
            [""],
            idle,
            cancellationToken
        );

    public static Task<long> EffectsAsync(
        NpgsqlDataSource database,
        PostgresFenceOptions options,
        TimeSpan age,
        CancellationToken cancellationToken
    ) =>
        PruneAsync(
            database,
            options,
            $"""
            WITH step AS MATERIALIZED (
              SELECT e.source, e.dedupe_key, e.effect FROM "{options.Schema}".webhook_effects e
              WHERE (e.source, e.dedupe_key, e.effect) > ($1, $2, $3) ORDER BY e.source, e.dedupe_key, e.effect LIMIT $5),
            gone AS (
              DELETE FROM "{options.Schema}".webhook_effects e USING step s
              WHERE e.source = s.source AND e.dedupe_key = s.dedupe_key AND e.effect = s.effect
                AND e.state = 'done' AND e.applied_at < clock_timestamp() - $4 RETURNING 1)
            SELECT (SELECT count(*) FROM gone), s.source, s.dedupe_key, s.effect FROM step s
            ORDER BY s.source DESC, s.dedupe_key DESC, s.effect DESC LIMIT 1
            """,
            ["", "", ""],
            age,
            cancellationToken
        );

    // The statement takes the key to go on behind, the age and the number of rows; it answers how many are gone and the last key.
    private static async Task<long> PruneAsync(
        NpgsqlDataSource database,
        PostgresFenceOptions options,
        string sql,
        string[] after,
        TimeSpan age,
        CancellationToken cancellationToken
    )
    {
        await using var connection = await database.OpenConnectionAsync(cancellationToken);
        await GuardTables.MakeIfMissingAsync(connection, options, cancellationToken);
        for (var total = 0L; ; )
        {
            await using var batch = new NpgsqlBatch(connection) { Timeout = StepSeconds };
            var parameters = batch.Add(sql);
            foreach (var part in after)
            {
                parameters.Text(part);
            }
            parameters.Interval(age).Number(GuardRules.PruneStep);
            await using var reader = await batch.ExecuteReaderAsync(cancellationToken);
            if (!await reader.ReadAsync(cancellationToken))
            {
                return total;
            }
            total += reader.GetInt64(0);
            after = [.. Enumerable.Range(1, after.Length).Select(reader.GetString)];
        }
    }
}
