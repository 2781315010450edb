using Scheduler.Hosting;

namespace Scheduler.Sqlite.Leases;

/// <summary>Adds the SQLite locks to a backend builder.</summary>
public static class SqliteLockExtensions
{
    /// <summary>Keeps the locks in an SQLite file; all replicas must run on one Linux host.</summary>
    /// <param name="builder">Where backends are named.</param>
    /// <param name="connectionString">For example <c>Data Source=data/locks.db</c>; a file of its own, on a local disk.</param>
    /// <returns>The same builder.</returns>
    /// <exception cref="ArgumentException">The text is no connection string or names no file.</exception>
    public static T UseSqliteLocks<T>(this T builder, string connectionString)
        where T : IBackendBuilder
    {
        ArgumentNullException.ThrowIfNull(builder);
        _ = LeaseFiles.Parse(connectionString);
        builder.SetLeaseStore((_, context) => new SqliteLeaseStore(context, connectionString));
        return builder;
    }
}
