using Scheduler.Auditing;
using Scheduler.Hosting;
using Scheduler.Inbox;
using Scheduler.Locking;
using Scheduler.Runs;

namespace Scheduler.Sqlite.State;

/// <summary>
/// The State in an SQLite file, for replicas on one host. Every write is on the disk when its call returns (<c>synchronous=FULL</c>);
/// calls that wait together share a commit. Thread-safe; several instances and processes may use one file.
/// </summary>
/// <remarks>
/// <para>Every call ends within 5 s, or within <see cref="LeaseOptions.CallTimeout"/> if that is longer; at most 10,000 calls wait to write
/// and as many to read. A write that ended without an answer was either left out or is done whole; a read changes nothing.</para>
/// <para>Processes queue for writing at a lock on the file with <c>.lock</c> behind its name. One that is stopped (SIGSTOP) in the very
/// moment in which it writes holds up the writes of the others, which then end by their limits and say so; reads go on. When it goes on or
/// ends, so do the others, by themselves.</para>
/// <para>File systems of the network and of FUSE are refused at opening, and so are files of something else. A file that is deleted while
/// in use is not made anew: it would be empty.</para>
/// </remarks>
public sealed class SqliteState : IState
{
    private readonly StateDatabase _database;

    /// <summary>Makes the State; opens nothing.</summary>
    /// <param name="context">Group, times and clocks.</param>
    /// <param name="connectionString">For example <c>Data Source=data/state.db</c>; a file on a local disk, made when it is
    /// missing.</param>
    /// <exception cref="ArgumentException">The text is no connection string or names no file.</exception>
    public SqliteState(BackendContext context, string connectionString)
        : this(context, connectionString, mountInfoFile: null) { }

    internal SqliteState(BackendContext context, string connectionString, string? mountInfoFile)
    {
        ArgumentNullException.ThrowIfNull(context);
        _database = new StateDatabase(context, connectionString, mountInfoFile);
        Runs = new SqliteRunLedger(_database, context.Group, context.Time);
        Events = new SqliteRunEvents(_database, context.Group);
        Skips = new SqliteRunSkips(_database, context.Group);
        Schedules = new SqliteScheduleLedger(_database, context.Group, context.Time);
        Members = new SqliteMemberRegistry(_database, context.Group, context.Time);
        Pauses = new SqliteJobPauses(_database, context.Group, context.Time);
        Inbox = new SqliteInbox(_database, context.Group, context.Time);
        Audit = new SqliteAudit(_database, context.Group);
        Pair = new SqlitePairLedger(_database, context.Group, context.Time);
    }

    /// <inheritdoc/>
    public string Name => "sqlite";

    /// <inheritdoc/>
    public Level Level => Level.Correctness;

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

    /// <summary>The file with its threads, for tests.</summary>
    internal StateDatabase Database => _database;

    /// <inheritdoc/>
    public ValueTask OpenAsync(CancellationToken cancellationToken) => _database.OpenAsync(cancellationToken);

    /// <summary>Answers the calls that wait, as far as that takes at most a few seconds, and closes the file.</summary>
    public ValueTask DisposeAsync() => new(Task.Run(_database.Dispose));
}
