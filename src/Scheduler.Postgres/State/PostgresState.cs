using Scheduler.Auditing;
using Scheduler.Hosting;
using Scheduler.Inbox;
using Scheduler.Locking;
using Scheduler.Runs;

namespace Scheduler.Postgres.State;

/// <summary>
/// The State in a schema of its own of a PostgreSQL database (13 or later), which may be the application's. Every write is on the disk
/// when its call returns, whatever <c>synchronous_commit</c> the server has. Thread-safe.
/// </summary>
/// <remarks>
/// <para>A claim or a completion alone is one round trip. Those that meet share a commit: one group of at most 64 is under way per kind,
/// and nobody waits for company.</para>
/// <para>Every call ends within 5 s, or within <see cref="LeaseOptions.CallTimeout"/> if that is longer; at most 10,000 calls wait. A
/// write that ended without an answer was either left out or is done whole. A connection that died is replaced, and the call on it is
/// sent once more: every call may be repeated without harm.</para>
/// <para>Nothing outlives a transaction on the server, so it works behind a proxy that pools transactions.</para>
/// </remarks>
public sealed class PostgresState : IState
{
    /// <summary>The schema where none is named.</summary>
    public const string DefaultSchema = "scheduler";

    private readonly StateDatabase _database;

    /// <summary>Makes the State; connects to nothing.</summary>
    /// <param name="context">Group, times and clocks.</param>
    /// <param name="connectionString">As Npgsql reads it, with one host, for example
    /// <c>Host=db.internal;Database=shop;Username=scheduler;Password=…</c>.</param>
    /// <param name="schema">The schema that holds the tables; made when it is missing. 1 to 63 of lower-case letters, digits and '_',
    /// not beginning with a digit or <c>pg_</c>.</param>
    /// <exception cref="ArgumentException">The text is no connection string, names no host or several, or the schema's name is not
    /// allowed. The message shows nothing of the connection string.</exception>
    public PostgresState(BackendContext context, string connectionString, string schema = DefaultSchema)
    {
        ArgumentNullException.ThrowIfNull(context);
        _database = new StateDatabase(context, new StatePlace(connectionString, schema));
        Runs = new PostgresRunLedger(_database, context.Group);
        Events = new PostgresRunEvents(_database, context.Group);
        Skips = new PostgresRunSkips(_database, context.Group);
        Schedules = new PostgresScheduleLedger(_database, context.Group);
        Members = new PostgresMemberRegistry(_database, context.Group, context.Time);
        Pauses = new PostgresJobPauses(_database, context.Group);
        Inbox = new PostgresInbox(_database, context.Group);
        Audit = new PostgresAudit(_database, context.Group);
        Pair = new PostgresPairLedger(_database, context.Group);
    }

    /// <inheritdoc/>
    public string Name => "postgres";

    /// <summary>
    /// <see cref="Level.Correctness"/> on one durable server or with synchronous replication, as far as the role could see it when the
    /// State was opened last; else <see cref="Level.Efficiency"/>, with the reason in the log.
    /// </summary>
    public Level Level => _database.Level;

    /// <inheritdoc/>
    public IRunLedger Runs { get; }

    /// <inheritdoc/>
    public IRunEvents Events { get; }

    /// <inheritdoc/>
    public IRunSkips Skips { get; }

    /// <inheritdoc/>
    public IScheduleLedger Schedules { get; }

    /// <inheritdoc/>
    public IMemberRegistry Members { get; }

    /// <inheritdoc/>
    public IJobPauses Pauses { get; }

    /// <inheritdoc/>
    public IInbox Inbox { get; }

    /// <inheritdoc/>
    public IAuditTrail Audit { get; }

    /// <inheritdoc/>
    public IPairLedger Pair { get; }

    /// <summary>The connections, for tests.</summary>
    internal StateDatabase Database => _database;

    /// <inheritdoc/>
    public ValueTask OpenAsync(CancellationToken cancellationToken) => _database.OpenAsync(cancellationToken);

    /// <summary>Closes the connections; calls under way end by themselves.</summary>
    public ValueTask DisposeAsync() => _database.DisposeAsync();
}
