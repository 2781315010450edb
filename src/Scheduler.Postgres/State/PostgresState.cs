using Scheduler.Auditing;
using Scheduler.Hosting;
using Scheduler.Inbox;
using Scheduler.Locking;
using Scheduler.Postgres.Signals;
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
    private readonly PostgresListener? _listener;

    /// <summary>Makes the State; connects to nothing.</summary>
    /// <param name="context">Group, times and clocks.</param>
    /// <param name="connectionString">As Npgsql reads it, with one host, for example
    /// <c>Host=db.internal;Database=shop;Username=scheduler;Password=…</c>.</param>
    /// <param name="schema">The schema that holds the tables; made when it is missing. 1 to 63 of lower-case letters, digits and '_',
    /// not beginning with a digit or <c>pg_</c>.</param>
    /// <param name="listenConnectionString">To the same database, past every proxy that pools transactions: one connection over it hears
    /// at once what other replicas store. Without it they are not heard.</param>
    /// <exception cref="ArgumentException">A text is no connection string, names no host or several, or the schema's name is not
    /// allowed. The message shows nothing of the connection string.</exception>
    public PostgresState(
        BackendContext context,
        string connectionString,
        string schema = DefaultSchema,
        string? listenConnectionString = null
    )
        : this(context, connectionString, schema, listenConnectionString, new ListenerTimes()) { }

    internal PostgresState(
        BackendContext context,
        string connectionString,
        string schema,
        string? listenConnectionString,
        ListenerTimes times
    )
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
        if (!string.IsNullOrEmpty(listenConnectionString))
        {
            var place = new StatePlace(listenConnectionString, schema);
            _listener = new PostgresListener(place, times, _database.NotifyAsync, context.Time, _database.Log);
            InboxFeed = new PostgresInboxFeed(_listener, _database.NotifyAsync, schema, context.Group, context.Time);
        }
    }

    /// <inheritdoc/>
    public string Name => "postgres";

    /// <summary>
    /// <see cref="Level.Correctness"/> on one durable server or with synchronous replication, as far as the role could see it when the
    /// State was opened last; else <see cref="Level.Efficiency"/>, with the reason in the log.
    /// </summary>
    public Level Level => _database.Level;

    /// <inheritdoc/>
    public string? Weakness => _database.Weakness;

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
    public IInboxFeed? InboxFeed { get; }

    /// <inheritdoc/>
    public IPairLedger Pair { get; }

    /// <summary>The connections, for tests.</summary>
    internal StateDatabase Database => _database;

    /// <inheritdoc/>
    public async ValueTask OpenAsync(CancellationToken cancellationToken)
    {
        await _database.OpenAsync(cancellationToken);
        _listener?.Start();
    }

    /// <summary>Closes the connections; calls under way end by themselves.</summary>
    public async ValueTask DisposeAsync()
    {
        if (_listener is not null)
        {
            await _listener.DisposeAsync();
        }
        await _database.DisposeAsync();
    }
}
