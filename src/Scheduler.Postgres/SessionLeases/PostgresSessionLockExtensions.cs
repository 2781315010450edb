using Scheduler.Hosting;

namespace Scheduler.Postgres.SessionLeases;

/// <summary>Adds the session locks of PostgreSQL to a backend builder.</summary>
public static class PostgresSessionLockExtensions
{
    /// <summary>Keeps the locks in one session of a PostgreSQL database, as advisory locks: a killed replica's are free at once.</summary>
    /// <param name="builder">Where backends are named.</param>
    /// <param name="connectionString">As Npgsql reads it, with one host, past every proxy, for example
    /// <c>Host=db.internal;Database=shop;Username=scheduler;Password=…</c>.</param>
    /// <param name="schema">The schema that holds what the locks need beside themselves, of its own; made when it is missing.</param>
    /// <returns>The same builder.</returns>
    public static T UsePostgresSessionLocks<T>(
        this T builder,
        string connectionString,
        string schema = PostgresSessionLeaseStore.DefaultSchema
    )
        where T : IBackendBuilder
    {
        ArgumentNullException.ThrowIfNull(builder);
        ArgumentException.ThrowIfNullOrWhiteSpace(connectionString);
        builder.SetLeaseStore((_, context) => new PostgresSessionLeaseStore(context, connectionString, schema));
        return builder;
    }
}
