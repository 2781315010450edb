using Npgsql;
using Scheduler.Inbox;
using Scheduler.Postgres.State;

namespace Scheduler.Postgres.Fencing;

/// <summary>The tables of fences and effects in a schema of the application's database. Stateless and thread-safe.</summary>
internal static class GuardTables
{
    private const string UndefinedTable = "42P01";

    /// <summary>Whether a statement failed because one of the tables is missing.</summary>
    public static bool AreMissing(PostgresException problem) =>
        problem.SqlState == UndefinedTable
        && (
            problem.MessageText.Contains("fences", StringComparison.Ordinal)
            || problem.MessageText.Contains("webhook_effects", StringComparison.Ordinal)
        );

    /// <summary>Adds a statement whose first three parameters are the key of an effect.</summary>
    public static NpgsqlParameterCollection AddKey(NpgsqlBatch batch, string sql, EffectKey key) =>
        batch.Add(sql).Text(key.Source).Text(key.DedupeKey).Text(key.Name);

    /// <summary>Makes the tables, unless both are there.</summary>
    public static async Task MakeIfMissingAsync(
        NpgsqlConnection connection,
        PostgresFenceOptions options,
        CancellationToken cancellationToken
    )
    {
        await using var batch = new NpgsqlBatch(connection);
        batch
            .Add("SELECT count(*) = 2 FROM pg_tables WHERE schemaname = $1 AND tablename IN ('fences', 'webhook_effects')")
            .Text(options.Schema);
        if (await batch.ExecuteScalarAsync(cancellationToken) is not true)
        {
            await MakeAsync(connection, options, cancellationToken);
        }
    }

    /// <summary>Makes what is missing; that another one makes it at the same time is as good.</summary>
    /// <exception cref="NpgsqlException">It cannot be made; the message names the remedy.</exception>
    public static async Task MakeAsync(NpgsqlConnection connection, PostgresFenceOptions options, CancellationToken cancellationToken)
    {
        await using var command = connection.CreateCommand();
#pragma warning disable CA2100 // The schema's name has letters, digits and '_' alone.
        command.CommandText = Create(options.Schema);
#pragma warning restore CA2100
        try
        {
            await command.ExecuteNonQueryAsync(cancellationToken);
        }
        catch (PostgresException race) when (race.SqlState is "23505" or "42P07" or "42710") { }
        catch (PostgresException refused) when (refused.SqlState is "42501" or "3F000")
        {
            throw new NpgsqlException(
                $"The tables fences and webhook_effects cannot be made in schema '{options.Schema}' of database '{connection.Database}': "
                    + $"{refused.MessageText}. Let its owner make them, or grant USAGE and CREATE on the schema, or name another one "
                    + $"({nameof(PostgresFenceOptions)}.{nameof(PostgresFenceOptions.Schema)}). They are:\n{Create(options.Schema)}",
                refused
            );
        }
    }

    // The first has the columns of the State's own, so that it may be the State's.
    private static string Create(string schema) =>
        $"""
            CREATE TABLE IF NOT EXISTS "{schema}".fences (
              group_name text COLLATE "C" NOT NULL,
              resource text COLLATE "C" NOT NULL,
              lock_key text COLLATE "C" NOT NULL,
              token bigint NOT NULL,
              raised_at timestamptz NOT NULL,
              PRIMARY KEY (group_name, resource)
            ) WITH (fillfactor = 50);
            CREATE TABLE IF NOT EXISTS "{schema}".webhook_effects (
              source text COLLATE "C" NOT NULL,
              dedupe_key text COLLATE "C" NOT NULL,
              effect text COLLATE "C" NOT NULL,
              state text COLLATE "C" NOT NULL DEFAULT 'done' CHECK (state IN ('intended', 'done')),
              token bigint NOT NULL,
              applied_at timestamptz NOT NULL DEFAULT clock_timestamp(),
              PRIMARY KEY (source, dedupe_key, effect)
            );
            """;
}
