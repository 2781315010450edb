using Scheduler.Hosting;

namespace Scheduler.Postgres.Leases;

/// <summary>Adds the locks on PostgreSQL to a backend builder.</summary>
public static class PostgresLockExtensions
{
    /// <summary>Keeps the leases as rows in a schema of a PostgreSQL database, which may be the application's own and that of the
    /// State.</summary>
    /// <param name="builder">Where backends are named.</param>
    /// <param name="connectionString">As Npgsql reads it, with one host, for example
    /// <c>Host=db.internal;Database=shop;Username=scheduler;Password=…</c>.</param>
    /// <param name="schema">The schema that holds the tables, not that of the State; made when it is missing.</param>
    /// <param name="listenConnectionString">To the same database, past every proxy that pools transactions: one connection over it hears
    /// at once which keys other replicas released. Without it those who wait look four times a second.</param>
    /// <returns>The same builder.</returns>
    public static T UsePostgresLocks<T>(
        this T builder,
        string connectionString,
        string schema = PostgresLeaseStore.DefaultSchema,
        string? listenConnectionString = null
    )
        where T : IBackendBuilder
    {
        ArgumentNullException.ThrowIfNull(builder);
        ArgumentException.ThrowIfNullOrWhiteSpace(connectionString);
        builder.SetLeaseStore((_, context) => new PostgresLeaseStore(context, connectionString, schema, listenConnectionString));
        return builder;
    }
}
