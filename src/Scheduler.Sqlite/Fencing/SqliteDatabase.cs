using System.Data.Common;
using Scheduler.Sqlite.Files;

namespace Scheduler.Sqlite;

/// <summary>Makes data sources for SQLite files of an application, set up so that <see cref="Fencing.SqliteFence"/> holds on
/// them.</summary>
public static class SqliteDatabase
{
    /// <summary>Makes a data source; opens nothing and does not create the folder.</summary>
    /// <remarks>
    /// Its connections are pooled and have <c>journal_mode=WAL</c>, <c>synchronous=FULL</c> (a commit survives a power failure),
    /// <c>foreign_keys=ON</c> and wait 1 s for other writers. SQLite works synchronously: a call occupies its thread.
    /// </remarks>
    /// <param name="connectionString">For example <c>Data Source=data/payments.db</c>; a file on a local disk.</param>
    /// <exception cref="ArgumentException">The text is no connection string or names no file.</exception>
    public static DbDataSource Create(string connectionString) => new SqliteDataSource(connectionString, pooling: true);
}
