using System.Data.Common;
using Dapper;
using Scheduler.Inbox;

namespace Scheduler.Sqlite.Fencing;

/// <summary>The table of effects in an application's database. Stateless and thread-safe.</summary>
internal static class EffectTable
{
    /// <summary>Makes the table.</summary>
    public const string Create = """
        CREATE TABLE IF NOT EXISTS webhook_effects (
          source TEXT NOT NULL,
          dedupe_key TEXT NOT NULL,
          effect TEXT NOT NULL,
          token INTEGER NOT NULL,
          applied_at TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP,
          state TEXT NOT NULL DEFAULT 'done',
          PRIMARY KEY (source, dedupe_key, effect)
        ) WITHOUT ROWID
        """;

    /// <summary>Notes an effect, unless it is noted.</summary>
    public const string Insert = """
        INSERT INTO webhook_effects (source, dedupe_key, effect, state, token) VALUES (@Source, @DedupeKey, @Name, @state, @token)
        ON CONFLICT DO NOTHING
        """;

    /// <summary>Reads where an effect stands.</summary>
    public const string Read = """
        SELECT state FROM webhook_effects WHERE source = @Source AND dedupe_key = @DedupeKey AND effect = @Name
        """;

    /// <summary>Notes that an effect is done.</summary>
    public const string Close = """
        UPDATE webhook_effects SET state = 'done', token = @token, applied_at = CURRENT_TIMESTAMP
        WHERE source = @Source AND dedupe_key = @DedupeKey AND effect = @Name
        """;

    private const string HasState = "SELECT count(*) FROM pragma_table_info('webhook_effects') WHERE name = 'state'";

    private const string AddState = "ALTER TABLE webhook_effects ADD COLUMN state TEXT NOT NULL DEFAULT 'done'";

    private const string LastOfStep = """
        SELECT source AS Source, dedupe_key AS DedupeKey, effect AS Name FROM (
          SELECT source, dedupe_key, effect FROM webhook_effects
          WHERE (source, dedupe_key, effect) > (@Source, @DedupeKey, @Name) ORDER BY source, dedupe_key, effect LIMIT @step)
        ORDER BY source DESC, dedupe_key DESC, effect DESC LIMIT 1
        """;

    private const string Prune = """
        DELETE FROM webhook_effects
        WHERE (source, dedupe_key, effect) > (@Source, @DedupeKey, @Name)
          AND (source, dedupe_key, effect) <= (@lastSource, @lastDedupeKey, @lastName)
          AND state = 'done' AND applied_at < datetime('now', @ago)
        """;

    /// <summary>Adds the column to a table of a former build, which noted only what is done.</summary>
    public static void AddStateIfMissing(DbConnection connection, DbTransaction? transaction)
    {
        if (connection.QuerySingle<long>(HasState, transaction: transaction) == 0)
        {
            connection.Execute(AddState, transaction: transaction);
        }
    }

    /// <summary>Forgets effects that are done for longer, in one pass over all of them, step by step.</summary>
    public static async ValueTask<long> PruneAsync(DbConnection connection, TimeSpan age, CancellationToken cancellationToken)
    {
        var ago = string.Create(System.Globalization.CultureInfo.InvariantCulture, $"-{(long)age.TotalSeconds} seconds");
        var (total, after) = (0L, new EffectKey("", "", ""));
        while (Last(connection, after) is { } last)
        {
            total += connection.Execute(
                Prune,
                new
                {
                    after.Source,
                    after.DedupeKey,
                    after.Name,
                    lastSource = last.Source,
                    lastDedupeKey = last.DedupeKey,
                    lastName = last.Name,
                    ago,
                }
            );
            after = last;
            // Others may write in between.
            await Task.Yield();
            cancellationToken.ThrowIfCancellationRequested();
        }
        return total;
    }

    private static EffectKey? Last(DbConnection connection, EffectKey after) =>
        connection.QuerySingleOrDefault<EffectKey?>(
            LastOfStep,
            new
            {
                after.Source,
                after.DedupeKey,
                after.Name,
                step = GuardRules.PruneStep,
            }
        );
}
