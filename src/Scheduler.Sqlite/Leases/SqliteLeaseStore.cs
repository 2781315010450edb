using Microsoft.Extensions.Logging;
using Scheduler.Hosting;
using Scheduler.Locking;

namespace Scheduler.Sqlite.Leases;

/// <summary>
/// Leases in an SQLite file of one Linux host. Thread-safe; waits for the disk on a thread of its own, never on a caller's.
/// </summary>
/// <remarks>
/// <para>Times are kept in the host's boot clock together with the boot id: a reboot ends all leases, a change of the wall clock none.
/// The commands of a process queue at one thread, those that wait together are one transaction, and processes take turns through
/// flock(2) on a side file, so nobody meets "database is locked".</para>
/// <para>Each replica holds a lock file of its own (<c>locks.db.replicas/</c>) until its process ends. A lease whose replica's file is
/// there and not locked any more is free at once; a process that is merely frozen keeps its leases until their time. Removing the lock
/// files of living replicas costs only that: their leases then last until their time after a crash.</para>
/// <para>Not promised: a process that is frozen (SIGSTOP) in the very moment in which it writes holds up the others until it goes on;
/// their calls then end by their own time limits. Releases of other processes are not pushed but polled for.</para>
/// <para>Disposing of a store whose replica still has grants (a body that did not end) leaves them until their time or until the
/// process is gone, whichever comes first.</para>
/// </remarks>
public sealed class SqliteLeaseStore : ILeaseStore
{
    private const int LargestPage = 1_000;
    private static readonly TimeSpan ShortestGrant = TimeSpan.FromMilliseconds(50);

    private readonly LeaseSession _session;
    private readonly LeaseQueue _queue;

    /// <summary>Makes one replica's client of a lock file, without touching the file yet.</summary>
    /// <param name="context">Group, replica and the longest lease. Its clocks are not used: all processes of the host share one.</param>
    /// <param name="connectionString">For example <c>Data Source=data/locks.db</c>; the folder is made when it is missing.</param>
    /// <exception cref="ArgumentException">The text is no connection string or names no file.</exception>
    /// <exception cref="PlatformNotSupportedException">The system is not Linux.</exception>
    public SqliteLeaseStore(BackendContext context, string connectionString)
        : this(context, connectionString, HostClock.Read()) { }

    internal SqliteLeaseStore(BackendContext context, string connectionString, HostClock clock)
    {
        ArgumentNullException.ThrowIfNull(context);
        ArgumentException.ThrowIfNullOrEmpty(context.Group, nameof(context));
        var files = LeaseFiles.Parse(connectionString);
        _session = new LeaseSession(files, clock, context.Group, context.Replica.Id, context.Leases.LongestLease);
        _queue = new LeaseQueue(files.Database, _session, context.Loggers.CreateLogger<SqliteLeaseStore>());
    }

    /// <inheritdoc/>
    public LeaseStoreTraits Traits { get; } =
        new(
            "sqlite",
            Level.Correctness,
            Fifo: false,
            PushesReleases: false,
            HostLocal: true,
            PollInterval: TimeSpan.FromMilliseconds(25),
            MaxRenewalBatch: 500
        );

    /// <inheritdoc/>
    public async ValueTask<LeaseStoreInfo> CheckAsync(LockStoreUse use, CancellationToken cancellationToken)
    {
        _session.Use = use;
        var id = await _queue.RunAsync(table => table.Check(), cancellationToken);
        return new LeaseStoreInfo(id, Traits.Level, []);
    }

    /// <inheritdoc/>
    public async ValueTask<StateMark?> PairAsync(StateMark? mark, TimeSpan replaceAfter, CancellationToken cancellationToken) =>
        await _queue.RunAsync(table => table.Pair(mark, replaceAfter), cancellationToken);

    /// <inheritdoc/>
    public async ValueTask<AcquireResult> AcquireAsync(AcquireRequest request, CancellationToken cancellationToken)
    {
        CheckKey(request.Key);
        ArgumentOutOfRangeException.ThrowIfLessThan(request.Duration, ShortestGrant, nameof(request));
        try
        {
            return await _queue.RunAsync(table => table.Acquire(request), cancellationToken);
        }
        catch (StoreUnavailableException problem)
        {
            // A commit may fail after it has taken effect; what never reached SQLite has no such cause.
            var reached = problem.InnerException is Microsoft.Data.Sqlite.SqliteException;
            return new AcquireResult.Unavailable(problem.Message, OutcomeUnknown: reached, problem);
        }
    }

    /// <inheritdoc/>
    public async ValueTask<RenewalReply> RenewAsync(IReadOnlyList<RenewalItem> batch, CancellationToken cancellationToken)
    {
        ArgumentNullException.ThrowIfNull(batch);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(batch.Count, Traits.MaxRenewalBatch, nameof(batch));
        return new RenewalReply(await _queue.RunAsync(table => table.Renew(batch), cancellationToken));
    }

    /// <inheritdoc/>
    public async ValueTask<ReleaseResult> ReleaseAsync(LockKey key, LeaseOwner owner, CancellationToken cancellationToken)
    {
        CheckKey(key);
        return await _queue.RunAsync(table => table.Release(key, owner), cancellationToken);
    }

    /// <inheritdoc/>
    public async ValueTask<RevokeResult> RevokeAsync(LockKey key, long number, CancellationToken cancellationToken)
    {
        CheckKey(key);
        return await _queue.RunAsync(table => table.Revoke(key, number), cancellationToken);
    }

    /// <inheritdoc/>
    public async ValueTask<LeaseRecord?> ReadAsync(LockKey key, CancellationToken cancellationToken)
    {
        CheckKey(key);
        return await _queue.RunAsync(table => table.Read(key), cancellationToken);
    }

    /// <inheritdoc/>
    public async ValueTask<LeasePage> ListAsync(string prefix, int limit, string? cursor, CancellationToken cancellationToken)
    {
        ArgumentNullException.ThrowIfNull(prefix);
        ArgumentOutOfRangeException.ThrowIfLessThan(limit, 1);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(limit, LargestPage);
        return await _queue.RunAsync(table => table.List(prefix, limit, cursor), cancellationToken);
    }

    /// <summary>Reports nothing: <see cref="LeaseStoreTraits.PushesReleases"/> is false, and Core reports this process's
    /// releases.</summary>
    public ValueTask<IAsyncDisposable> SubscribeAsync(Action<LockKey> mayBeFree, CancellationToken cancellationToken)
    {
        cancellationToken.ThrowIfCancellationRequested();
        return ValueTask.FromResult<IAsyncDisposable>(new NoSubscription());
    }

    /// <summary>Finishes the commands that wait, and closes the files; see the remarks of the class for grants that are left.</summary>
    public ValueTask DisposeAsync() => _queue.DisposeAsync();

    private static void CheckKey(LockKey key)
    {
        if (LockKey.Problem(key.Value) is { } problem)
        {
            throw new ArgumentException(problem, nameof(key));
        }
    }

    private sealed class NoSubscription : IAsyncDisposable
    {
        public ValueTask DisposeAsync() => ValueTask.CompletedTask;
    }
}
