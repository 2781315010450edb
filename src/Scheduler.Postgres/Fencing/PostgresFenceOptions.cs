using System.Data;
using Scheduler.Fencing;
using Scheduler.Postgres.State;

namespace Scheduler.Postgres.Fencing;

/// <summary>How fenced transactions on a PostgreSQL database of the application are run. Immutable.</summary>
public sealed record PostgresFenceOptions
{
    internal static readonly PostgresFenceOptions Default = new();

    /// <summary>The schema of the tables <c>fences</c> and <c>webhook_effects</c>, which must be there; 1 to 63 of lower-case letters,
    /// digits and '_', not beginning with a digit or <c>pg_</c>; default <c>public</c>.</summary>
    public string Schema { get; init; } = "public";

    /// <summary>
    /// How long a call may take with all its tries and waits, 100 ms to 10 minutes; default 10 s. The server ends the session of a
    /// transaction that stood idle for so long: a holder that was stopped in the middle of one holds up its successor no longer.
    /// </summary>
    public TimeSpan Limit { get; init; } = TimeSpan.FromSeconds(10);

    /// <summary>The isolation of the transaction; default <see cref="IsolationLevel.ReadCommitted"/>, whose statements see what was
    /// committed before each of them.</summary>
    public IsolationLevel Isolation { get; init; } = IsolationLevel.ReadCommitted;

    /// <summary>Refuses values out of their bounds.</summary>
    internal static void Check(PostgresFenceOptions options)
    {
        ArgumentNullException.ThrowIfNull(options);
        if (StatePlace.SchemaProblem(options.Schema) is { } problem)
        {
            throw new ArgumentException($"The {nameof(Schema)} of the fences is '{options.Schema}'; {problem}", nameof(options));
        }
        FenceRules.CheckLimit(options.Limit);
    }
}
