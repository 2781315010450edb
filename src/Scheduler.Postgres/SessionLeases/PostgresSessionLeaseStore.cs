using Microsoft.Extensions.Logging;
using Scheduler.Hosting;
using Scheduler.Locking;
using Scheduler.Postgres.Leases;
using Scheduler.Postgres.Signals;
using Scheduler.Postgres.State;
using Scheduler.Postgres.Telemetry;
using Scheduler.Runs;

namespace Scheduler.Postgres.SessionLeases;

/// <summary>
/// Locks of a PostgreSQL session (13 or later): one advisory lock for each lease, all of a replica's on one connection. Thread-safe.
/// </summary>
/// <remarks>
/// <para>A lock is free at once when its session ends: by kill of the process, by the server, by an operator. All leases of the replica are
/// lost with it, seen at the next renewal, and never taken again by themselves. A lease that is not renewed is let go at its end by its own
/// replica; one whose replica is frozen by whoever asks for it, who ends the whole session of that replica
/// (<c>pg_terminate_backend</c>) when it has shown no sign of life for the whole lease and a second.</para>
/// <para>Calls that meet share statements. Taking and letting go writes nothing; what a lock is for (key, holder, purpose, end) is noted in
/// a table that is not logged, within 10 ms, unless it has ended by then. Who is refused looks again until the note is there, so a
/// refusal in the moment after a grant takes as long.</para>
/// <para>Not guaranteed: that two do not hold a key for a moment when the server ends a session early; hence
/// <see cref="Level.Efficiency"/>, and fencing at the resource. Not in the order of asking. It needs a connection past every proxy.</para>
/// </remarks>
public sealed partial class PostgresSessionLeaseStore : ILeaseStore
{
    /// <summary>The schema where none is named.</summary>
    public const string DefaultSchema = PostgresLeaseStore.DefaultSchema;

    private const int LargestPage = 1_000;
    private static readonly TimeSpan LongestLook = TimeSpan.FromMilliseconds(250);
    private static readonly TimeSpan ShortestPause = TimeSpan.FromMilliseconds(1);

    private readonly BackendContext _backend;
    private readonly StateDatabase _database;
    private readonly SessionStatements _statements;
    private readonly LeaseStatements _common;
    private readonly SessionContext _context;
    private readonly PostgresListener _listener;
    private readonly ReleaseSignals _signals;
    private readonly HolderWatch _watch;
    private readonly SemaphoreSlim _opening = new(1, 1);
    private readonly Func<LockKey, long> _wordOf;
    private volatile LiveSession? _live;
    private volatile bool _disposed;
    private volatile bool _listens;

    /// <summary>Makes one replica's client of the locks; connects to nothing.</summary>
    /// <param name="context">Group, replica, times and clocks.</param>
    /// <param name="connectionString">As Npgsql reads it, with one host, past every proxy, for example
    /// <c>Host=db.internal;Database=shop;Username=scheduler;Password=…</c>. Never logged or shown.</param>
    /// <param name="schema">The schema that holds what the locks need beside themselves, of its own; made when it is missing. 1 to 63 of
    /// lower-case letters, digits and '_', not beginning with a digit or <c>pg_</c>.</param>
    /// <exception cref="ArgumentException">A text is no connection string, names no host or several, or the schema's name is not
    /// allowed. The message shows nothing of the connection string.</exception>
    public PostgresSessionLeaseStore(BackendContext context, string connectionString, string schema = DefaultSchema)
        : this(context, connectionString, schema, wordOf: null) { }

    internal PostgresSessionLeaseStore(BackendContext context, string connectionString, string schema, Func<LockKey, long>? wordOf)
    {
        ArgumentNullException.ThrowIfNull(context);
        ArgumentException.ThrowIfNullOrEmpty(context.Group, nameof(context));
        _backend = context;
        var place = new StatePlace(connectionString, schema, PlaceUse.SessionLocks);
        _database = new StateDatabase(context, place);
        _statements = new SessionStatements(place.Quoted);
        _common = new LeaseStatements(place.Quoted);
        var words = new LockWords(schema, context.Group);
        _wordOf = wordOf ?? words.Of;
        var log = context.Loggers.CreateLogger<PostgresSessionLeaseStore>();
        // With the lease over, no lock is worth anything; before that, a server that is slow for a while costs no lease.
        var limit = Longer(context.Leases.LeaseDuration, context.Leases.CallTimeout * 2);
        var channel = ChannelName.Of(schema, context.Group, "released");
        _context = new SessionContext(context.Group, context.Replica.Id, words, _wordOf, channel, place, limit, log);
        var times = new ListenerTimes();
        _listener = new PostgresListener(place, times, _database.NotifyAsync, context.Time, log);
        _signals = new ReleaseSignals(_listener, channel, context, place.Endpoint, times.Echo);
        _watch = new HolderWatch(EndedAsync, () => _signals.HasSubscribers, _signals.Report, OnWatchFailed);
    }

    /// <inheritdoc/>
    public LeaseStoreTraits Traits { get; } =
        new(
            "postgres-session",
            Level.Efficiency,
            Fifo: false,
            PushesReleases: true,
            HostLocal: false,
            PollInterval: TimeSpan.FromSeconds(1),
            MaxRenewalBatch: 500
        );

    /// <summary>The process that serves the session, for tests.</summary>
    internal int? SessionProcess => _live?.ProcessId;

    /// <inheritdoc/>
    public async ValueTask<LeaseStoreInfo> CheckAsync(LockStoreUse use, CancellationToken cancellationToken)
    {
        ObjectDisposedException.ThrowIf(_disposed, this);
        try
        {
            await _database.OpenAsync(cancellationToken);
            if (_database.LimitsInTransaction)
            {
                throw new StoreUnavailableException(
                    $"{_database.Place.Name}: a proxy that pools connections stands in between (it hands out session numbers of its own "
                        + "or takes no start-up options), and session locks would be left to whoever gets the connection next. Name the "
                        + "server itself in Scheduler:Locks:ConnectionString, or choose the backend 'postgres', which works behind one.",
                    permanent: true
                );
            }
            var id = await _database.CallAsync(
                batch => batch.Add(_common.Open).Text(_context.Group).Number(0L),
                static async reader => await reader.ReadAsync() ? reader.GetString(0) : null,
                cancellationToken
            );
            if (id is null)
            {
                throw new StoreUnavailableException(
                    $"{_database.Place.Name} has no id. {PlaceUse.SessionLocks.WhenDamaged}",
                    permanent: true
                );
            }
            await OpenSessionAsync(cancellationToken);
            string[] warnings = _database.Weakness is { } weakness ? [weakness] : [];
            return new LeaseStoreInfo(id, Traits.Level, warnings);
        }
        catch (StateUnavailableException problem)
        {
            throw StoreCalls.Unavailable(problem);
        }
    }

    /// <inheritdoc/>
    public ValueTask<StateMark?> PairAsync(StateMark? mark, TimeSpan replaceAfter, CancellationToken cancellationToken) =>
        _database.PairAsync(_common, _context.Group, mark, replaceAfter, cancellationToken);

    /// <inheritdoc/>
    /// <exception cref="ArgumentOutOfRangeException">The duration is below 1 ms or above
    /// <see cref="LeaseOptions.LongestLease"/>.</exception>
    public async ValueTask<AcquireResult> AcquireAsync(AcquireRequest request, CancellationToken cancellationToken)
    {
        StoreCalls.CheckKey(request.Key);
        ArgumentOutOfRangeException.ThrowIfLessThan(request.Duration, TimeSpan.FromMilliseconds(1), nameof(request));
        ArgumentOutOfRangeException.ThrowIfGreaterThan(request.Duration, _backend.Leases.LongestLease, nameof(request));
        cancellationToken.ThrowIfCancellationRequested();
        try
        {
            var word = _wordOf(request.Key);
            var began = TimeProvider.System.GetTimestamp();
            for (var pause = ShortestPause; ; pause *= 1.5)
            {
                var grant = await Live().TakeAsync(word, request);
                if (await AnswerAsync(word, request, grant) is { } answer)
                {
                    return answer;
                }
                if (TimeProvider.System.GetElapsedTime(began) > LongestLook)
                {
                    return new AcquireResult.Held("unknown", "held by a session without a note", Traits.PollInterval);
                }
                await Task.Delay(pause, TimeProvider.System, cancellationToken);
            }
        }
        catch (StateUnavailableException problem)
        {
            var translated = StoreCalls.Unavailable(problem);
            // What was never sent has no cause.
            return new AcquireResult.Unavailable(translated.Message, OutcomeUnknown: problem.InnerException is not null, translated);
        }
    }

    /// <inheritdoc/>
    public async ValueTask<RenewalReply> RenewAsync(IReadOnlyList<RenewalItem> batch, CancellationToken cancellationToken)
    {
        ArgumentNullException.ThrowIfNull(batch);
        ArgumentOutOfRangeException.ThrowIfZero(batch.Count, nameof(batch));
        ArgumentOutOfRangeException.ThrowIfGreaterThan(batch.Count, Traits.MaxRenewalBatch, nameof(batch));
        cancellationToken.ThrowIfCancellationRequested();
        try
        {
            var live = Live();
            try
            {
                return await live.RenewAsync(batch);
            }
            catch (StateUnavailableException) when (live.IsOver)
            {
                // Whatever ended it: what it had is free, or will be.
                return new RenewalReply([.. Enumerable.Repeat(RenewalOutcome.Lost, batch.Count)]);
            }
        }
        catch (StateUnavailableException problem)
        {
            throw StoreCalls.Unavailable(problem);
        }
    }

    /// <inheritdoc/>
    public async ValueTask<ReleaseResult> ReleaseAsync(LockKey key, LeaseOwner owner, CancellationToken cancellationToken)
    {
        StoreCalls.CheckKey(key);
        cancellationToken.ThrowIfCancellationRequested();
        if (owner.Replica != _context.Replica)
        {
            if (await ReadNoteAsync(key, cancellationToken) is null)
            {
                return default;
            }
            return await _database.CallStoreAsync(
                batch =>
                    batch
                        .Add(_statements.Drop)
                        .Number(_wordOf(key))
                        .Text(_context.Group)
                        .Text(key.Value)
                        .Text(owner.Replica)
                        .Number(owner.Acquisition),
                static async reader => await reader.ReadAsync() ? new ReleaseResult(Released: true, reader.GetBoolean(0)) : default,
                cancellationToken
            );
        }
        try
        {
            return await Live().EndAsync(_wordOf(key), owner);
        }
        catch (StateUnavailableException problem)
        {
            throw StoreCalls.Unavailable(problem);
        }
    }

    /// <inheritdoc/>
    public async ValueTask<IAsyncDisposable> SubscribeAsync(Action<LockKey> mayBeFree, CancellationToken cancellationToken)
    {
        ArgumentNullException.ThrowIfNull(mayBeFree);
        cancellationToken.ThrowIfCancellationRequested();
        try
        {
            if (!_listens)
            {
                await Live().ListenAsync();
                _listens = true;
            }
        }
        catch (StateUnavailableException problem)
        {
            throw StoreCalls.Unavailable(problem);
        }
        return await _signals.AddAsync(mayBeFree, cancellationToken);
    }

    /// <summary>Closes the connections. While grants are left, a body may still run: the session then stays until they are over, or the
    /// process has ended.</summary>
    public async ValueTask DisposeAsync()
    {
        if (_disposed)
        {
            return;
        }
        _disposed = true;
        _watch.Stop();
        _live?.Close();
        await _listener.DisposeAsync();
        await _database.DisposeAsync();
    }

    private ValueTask<long[]> EndedAsync(long[] sessions) => Live().EndedAsync(sessions);

    private void OnWatchFailed(Exception problem)
    {
        if (!_disposed)
        {
            Log.WatchFailed(_context.Log, _database.Place.Name, problem.Message);
        }
    }

    private LiveSession Live() =>
        _live
        ?? throw new StateUnavailableException($"{_database.Place.Name}: the lock store has not been checked yet, so there is no session.");

    private static TimeSpan Longer(TimeSpan one, TimeSpan other) => one > other ? one : other;
}
