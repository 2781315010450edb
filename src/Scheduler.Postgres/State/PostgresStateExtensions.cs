using Scheduler.Hosting;

namespace Scheduler.Postgres.State;

/// <summary>Adds the PostgreSQL State to a backend builder.</summary>
public static class PostgresStateExtensions
{
    /// <summary>Keeps the records in a schema of a PostgreSQL database, which may be the application's own.</summary>
    /// <param name="builder">Where backends are named.</param>
    /// <param name="connectionString">As Npgsql reads it, with one host, for example
    /// <c>Host=db.internal;Database=shop;Username=scheduler;Password=…</c>.</param>
    /// <param name="schema">The schema that holds the tables; made when it is missing.</param>
    /// <param name="listenConnectionString">To the same database, past every proxy that pools transactions: one connection over it hears
    /// at once what other replicas store. Without it replicas look once a second.</param>
    /// <returns>The same builder.</returns>
    public static T UsePostgresState<T>(
        this T builder,
        string connectionString,
        string schema = PostgresState.DefaultSchema,
        string? listenConnectionString = null
    )
        where T : IBackendBuilder
    {
        ArgumentNullException.ThrowIfNull(builder);
        ArgumentException.ThrowIfNullOrWhiteSpace(connectionString);
        builder.SetState((_, context) => new PostgresState(context, connectionString, schema, listenConnectionString));
        return builder;
    }

    /// <summary>What is wrong with a connection string for the State, without showing it.</summary>
    /// <returns>The problem and what is allowed, or <see langword="null"/>.</returns>
    public static string? FindConnectionStringProblem(string? connectionString) => StatePlace.Problem(connectionString);

    /// <summary>What is wrong with a name for the schema of the State.</summary>
    /// <returns>What is allowed, or <see langword="null"/>.</returns>
    public static string? FindSchemaProblem(string? schema) => StatePlace.SchemaProblem(schema);
}
