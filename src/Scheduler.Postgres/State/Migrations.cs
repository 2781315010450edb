using System.Globalization;
using System.Reflection;
using Microsoft.Extensions.Logging;
using Npgsql;
using Scheduler.Postgres.Telemetry;
using Scheduler.Runs;

namespace Scheduler.Postgres.State;

/// <summary>
/// Brings a schema to this build's version by the embedded files <c>Migrations/NNNN_name.sql</c>, each with the oldest build that can
/// read its result in its first line. Replicas that start together wait for each other. Stateless and thread-safe.
/// </summary>
internal static class Migrations
{
    /// <summary>The table that says whose the schema is and which version it has.</summary>
    public const string VersionTable = "scheduler_schema";

    private const string Look = """
        SELECT
          (SELECT n.oid FROM pg_namespace n WHERE n.nspname = $1) IS NOT NULL,
          (SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = $1),
          (SELECT array_agg(a.attname::text ORDER BY a.attname) FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
             JOIN pg_namespace n ON n.oid = c.relnamespace
           WHERE n.nspname = $1 AND c.relname = $2 AND c.relkind = 'r' AND a.attnum > 0 AND NOT a.attisdropped)
        """;

    private static readonly IReadOnlyList<Migration> OfLocks = Load(PlaceUse.Locks);
    private static readonly IReadOnlyList<Migration> OfSessionLocks = Load(PlaceUse.SessionLocks);

    /// <summary>The migrations of this build for the State, in order.</summary>
    public static IReadOnlyList<Migration> All { get; } = Load(PlaceUse.State);

    /// <summary>The schema version of the State that this build writes.</summary>
    public static int BuildVersion => All[^1].Version;

    /// <summary>
    /// Applies what is missing, in one transaction: after a failure nothing of it is there. Writes in any case, so that its success means
    /// that the State can be written.
    /// </summary>
    /// <param name="connection">Without an open transaction.</param>
    /// <param name="place">The schema, and the names for messages.</param>
    /// <param name="log">Where it is told.</param>
    /// <param name="migrations">In the order of their versions; those of this build for that use unless tests name others.</param>
    /// <exception cref="StateUnavailableException">The schema is too new for this build, or of something else.</exception>
    /// <exception cref="NpgsqlException">PostgreSQL refused.</exception>
    public static async Task ApplyAsync(
        NpgsqlConnection connection,
        StatePlace place,
        ILogger log,
        IReadOnlyList<Migration>? migrations = null
    )
    {
        migrations ??=
            place.Use == PlaceUse.State ? All
            : place.Use == PlaceUse.Locks ? OfLocks
            : OfSessionLocks;
        int before;
        // Leaving without a commit rolls back.
        await using (var transaction = await connection.BeginTransactionAsync(System.Data.IsolationLevel.ReadCommitted))
        {
            // For this transaction alone: a migration may take longer than a call, and replicas that start together wait for it.
            await ExecuteAsync(connection, "SET LOCAL statement_timeout = '10min'; SET LOCAL lock_timeout = '25s'");
            before = await VersionAsync(connection, place, migrations[^1].Version);
            if (before < migrations[^1].Version)
            {
                await ExecuteAsync(connection, "SELECT pg_advisory_xact_lock(hashtextextended($1, 0))", LockName(place));
                before = await VersionAsync(connection, place, migrations[^1].Version);
            }
            if (before == 0)
            {
                await MakeSchemaAsync(connection, place);
            }
            foreach (var migration in migrations.Where(m => m.Version > before))
            {
                await ExecuteAsync(connection, migration.Sql.Replace("{schema}", place.Quoted, StringComparison.Ordinal));
                await ExecuteAsync(
                    connection,
                    string.Create(
                        CultureInfo.InvariantCulture,
                        $"UPDATE {place.Quoted}.{VersionTable} SET version = {migration.Version}, min_reader = {migration.MinReader}"
                    )
                );
            }
            // A real write, even when nothing is to be done: a server or a role that only reads passes everything before it.
            await ExecuteAsync(connection, $"UPDATE {place.Quoted}.{VersionTable} SET version = version");
            await transaction.CommitAsync();
        }
        if (before < migrations[^1].Version)
        {
            Log.Migrated(log, place.Use.What, place.Name, before, migrations[^1].Version);
        }
    }

    // 0: the schema is missing or empty.
    private static async Task<int> VersionAsync(NpgsqlConnection connection, StatePlace place, int buildVersion)
    {
        bool exists;
        long relations;
        string[]? columns;
        await using (var look = Command(connection, Look, place.Schema, VersionTable))
        await using (var reader = await look.ExecuteReaderAsync())
        {
            await reader.ReadAsync();
            (exists, relations) = (reader.GetBoolean(0), reader.GetInt64(1));
            columns = await reader.IsDBNullAsync(2) ? null : await reader.GetFieldValueAsync<string[]>(2);
        }
        if (!exists || relations == 0)
        {
            return 0;
        }
        if (columns is null || !columns.AsSpan().SequenceEqual(["min_reader", "product", "version"]))
        {
            throw Foreign(place);
        }
        await using var ask = Command(connection, $"SELECT product, version, min_reader FROM {place.Quoted}.{VersionTable}");
        await using var row = await ask.ExecuteReaderAsync();
        if (!await row.ReadAsync() || row.GetString(0) != place.Use.Product)
        {
            throw Foreign(place);
        }
        var (version, minReader) = (row.GetInt32(1), row.GetInt32(2));
        return minReader <= buildVersion
            ? version
            : throw new StateUnavailableException(
                $"{place.Name} has schema version {version}, which needs a build that reads version {minReader} or later; this build reads "
                    + $"up to {buildVersion}. Run the newer release, or name another schema in {place.Use.Section}:Schema.",
                permanent: true
            );
    }

    private static async Task MakeSchemaAsync(NpgsqlConnection connection, StatePlace place)
    {
        // Asked first: IF NOT EXISTS, too, needs the permission to create one, which a role whose schema was made for it lacks.
        await using (var look = Command(connection, "SELECT count(*) FROM pg_namespace WHERE nspname = $1", place.Schema))
        {
            if ((long)(await look.ExecuteScalarAsync())! == 0)
            {
                await ExecuteAsync(connection, $"CREATE SCHEMA {place.Quoted}");
            }
        }
        await ExecuteAsync(
            connection,
            $"""
            CREATE TABLE {place.Quoted}.{VersionTable} (product text NOT NULL, version integer NOT NULL, min_reader integer NOT NULL);
            INSERT INTO {place.Quoted}.{VersionTable} (product, version, min_reader) VALUES ('{place.Use.Product}', 0, 0)
            """
        );
    }

    private static List<Migration> Load(PlaceUse use) => Migration.Load(Assembly.GetExecutingAssembly(), use.Migrations);

    // Of the lock alone: other applications may use numbers of their own in the same database.
    private static string LockName(StatePlace place) => $"{place.Use.Product}-migration:{place.Schema}";

    private static StateUnavailableException Foreign(StatePlace place) =>
        new(
            $"{place.Name}: the schema belongs to something else, and nothing in it was touched. Name another one in "
                + $"{place.Use.Section}:Schema.",
            permanent: true
        );

    private static NpgsqlCommand Command(NpgsqlConnection connection, string sql, params string[] values)
    {
        var command = new NpgsqlCommand(sql, connection);
        foreach (var value in values)
        {
            command.Parameters.Text(value);
        }
        return command;
    }

    private static async Task ExecuteAsync(NpgsqlConnection connection, string sql, params string[] values)
    {
        await using var command = Command(connection, sql, values);
        await command.ExecuteNonQueryAsync();
    }
}
