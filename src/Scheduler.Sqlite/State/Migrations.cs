using System.Reflection;
using Dapper;
using Microsoft.Data.Sqlite;
using Microsoft.Extensions.Logging;
using Scheduler.Runs;
using Scheduler.Sqlite.Telemetry;

namespace Scheduler.Sqlite.State;

/// <summary>
/// Brings a database to this build's schema by the embedded files <c>Migrations/NNNN_name.sql</c>, each with the oldest build that can
/// read its result in its first line. Called while holding the writer lock. Stateless and thread-safe.
/// </summary>
internal static class Migrations
{
    private const string Prefix = "Scheduler.Sqlite.State.Migrations.";

    /// <summary>The migrations of this build, in order.</summary>
    public static IReadOnlyList<Migration> All { get; } = Migration.Load(Assembly.GetExecutingAssembly(), Prefix);

    /// <summary>The schema version that this build writes.</summary>
    public static int BuildVersion => All[^1].Version;

    /// <summary>
    /// Applies what is missing, in one transaction: after a failure nothing of it is there. Writes in any case, so that its success means
    /// that the file can be written.
    /// </summary>
    /// <param name="connection">Without an open transaction.</param>
    /// <param name="path">The file, for messages.</param>
    /// <param name="log">Where it is told.</param>
    /// <param name="migrations">In the order of their versions; those of this build unless tests name others.</param>
    /// <exception cref="StateUnavailableException">The schema is too new for this build, or the file is of something else.</exception>
    /// <exception cref="SqliteException">SQLite refused.</exception>
    public static void Apply(SqliteConnection connection, string path, ILogger log, IReadOnlyList<Migration>? migrations = null)
    {
        migrations ??= All;
        long before;
        // Leaving without a commit rolls back, whatever state SQLite has left the transaction in.
        using (var transaction = connection.BeginTransaction(System.Data.IsolationLevel.Serializable))
        {
            RefuseForeign(connection, transaction, path);
            connection.Execute(
                "CREATE TABLE IF NOT EXISTS schema (version INTEGER NOT NULL, min_reader INTEGER NOT NULL)",
                transaction: transaction
            );
            (before, var minReader) = connection.QuerySingleOrDefault<(long, long)>(
                "SELECT version, min_reader FROM schema",
                transaction: transaction
            );
            if (minReader > migrations[^1].Version)
            {
                throw new StateUnavailableException(
                    $"The State '{path}' has schema version {before}, which needs a build that reads version {minReader} or later; this "
                        + $"build reads up to {migrations[^1].Version}. Run the newer release, or name another file in "
                        + "Scheduler:State:ConnectionString.",
                    permanent: true
                );
            }
            foreach (var migration in migrations.Where(m => m.Version > before))
            {
                connection.Execute(migration.Sql, transaction: transaction);
                connection.Execute("DELETE FROM schema", transaction: transaction);
                connection.Execute(
                    "INSERT INTO schema (version, min_reader) VALUES (@version, @minReader)",
                    new { version = migration.Version, minReader = migration.MinReader },
                    transaction
                );
            }
            // A real write, even when nothing is to be done: a file that can only be read and a full disk pass everything before it.
            connection.Execute("UPDATE schema SET version = version", transaction: transaction);
            transaction.Commit();
        }
        if (before < migrations[^1].Version)
        {
            Log.StateMigrated(log, path, before, migrations[^1].Version);
        }
    }

    // The locks' file says what it is; of another application's, that there are tables but not ours.
    private static void RefuseForeign(SqliteConnection connection, SqliteTransaction transaction, string path)
    {
        var marked = connection.ExecuteScalar<long>("PRAGMA application_id", transaction: transaction) != 0;
        var (tables, ours) = connection.QuerySingle<(long, long)>(
            "SELECT count(*), coalesce(sum(name = 'schema'), 0) FROM sqlite_master WHERE type = 'table'",
            transaction: transaction
        );
        if (marked || (tables > 0 && ours == 0))
        {
            throw new StateUnavailableException(
                $"'{path}' is a database of something else, and the State has a file of its own. Name another path in "
                    + "Scheduler:State:ConnectionString.",
                permanent: true
            );
        }
    }
}
