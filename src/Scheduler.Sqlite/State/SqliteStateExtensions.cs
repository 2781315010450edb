using Scheduler.Hosting;

namespace Scheduler.Sqlite.State;

/// <summary>Adds the SQLite State to a backend builder.</summary>
public static class SqliteStateExtensions
{
    /// <summary>Keeps the records in an SQLite file; all replicas must run on one host.</summary>
    /// <param name="builder">Where backends are named.</param>
    /// <param name="connectionString">For example <c>Data Source=data/state.db</c>; a file of its own, on a local disk.</param>
    /// <returns>The same builder.</returns>
    public static T UseSqliteState<T>(this T builder, string connectionString)
        where T : IBackendBuilder
    {
        ArgumentNullException.ThrowIfNull(builder);
        ArgumentException.ThrowIfNullOrWhiteSpace(connectionString);
        builder.SetState((_, context) => new SqliteState(context, connectionString));
        return builder;
    }
}
