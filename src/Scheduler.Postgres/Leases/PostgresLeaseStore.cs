using Npgsql;
using Scheduler.Hosting;
using Scheduler.Locking;
using Scheduler.Postgres.Signals;
using Scheduler.Postgres.State;
using Scheduler.Runs;

namespace Scheduler.Postgres.Leases;

/// <summary>
/// Leases as rows of a schema of their own in a PostgreSQL database (13 or later), which may be the application's and that of the State.
/// Thread-safe.
/// </summary>
/// <remarks>
/// <para>Time is that of the server alone. A grant, a renewal and a forced release are on the disk when their call returns, whatever
/// <c>synchronous_commit</c> the server has. A release is not: after a crash of the server the key may be held until its time is
/// over.</para>
/// <para>Every operation is one round trip. Acquires that meet share a statement and a commit, and so do releases: one group of at most 64
/// is under way of each, and nobody waits for company. An acquire that is sent again because its connection died is granted once.</para>
/// <para>Keys are granted in the order in which replicas began to wait; the place of one that does not ask again is kept for two poll
/// intervals. Nothing outlives a transaction on the server, so it works behind a proxy that pools transactions.</para>
/// <para>Every call ends within 1 s, or within <see cref="LeaseOptions.CallTimeout"/> if that is longer. Not guaranteed: that leases last
/// their time when the server's wall clock jumps; its time comes with each grant and renewal, so that Core notices.</para>
/// </remarks>
public sealed class PostgresLeaseStore : ILeaseStore
{
    /// <summary>The schema where none is named.</summary>
    public const string DefaultSchema = "scheduler_locks";

    private const int LargestPage = 1_000;

    private readonly StateDatabase _database;
    private readonly LeaseStatements _statements;
    private readonly LeaseCalls _calls;
    private readonly PostgresListener? _listener;
    private readonly ReleaseSignals? _signals;
    private readonly string _group;
    private readonly TimeSpan _longestLease;

    /// <summary>Makes one replica's client of the leases; connects to nothing.</summary>
    /// <param name="context">Group, replica, times and clocks.</param>
    /// <param name="connectionString">As Npgsql reads it, with one host, for example
    /// <c>Host=db.internal;Database=shop;Username=scheduler;Password=…</c>. Never logged or shown.</param>
    /// <param name="schema">The schema that holds the tables, not that of a State; made when it is missing. 1 to 63 of lower-case letters,
    /// digits and '_', not beginning with a digit or <c>pg_</c>.</param>
    /// <param name="listenConnectionString">To the same database, past every proxy that pools transactions: one connection over it hears
    /// at once which keys other replicas released. Without it those who wait look four times a second.</param>
    /// <exception cref="ArgumentException">A text is no connection string, names no host or several, or the schema's name is not
    /// allowed. The message shows nothing of the connection string.</exception>
    public PostgresLeaseStore(
        BackendContext context,
        string connectionString,
        string schema = DefaultSchema,
        string? listenConnectionString = null
    )
        : this(context, connectionString, schema, listenConnectionString, new ListenerTimes()) { }

    internal PostgresLeaseStore(
        BackendContext context,
        string connectionString,
        string schema,
        string? listenConnectionString,
        ListenerTimes times
    )
    {
        ArgumentNullException.ThrowIfNull(context);
        ArgumentException.ThrowIfNullOrEmpty(context.Group, nameof(context));
        _group = context.Group;
        _longestLease = context.Leases.LongestLease;
        var listens = !string.IsNullOrEmpty(listenConnectionString);
        Traits = new LeaseStoreTraits(
            "postgres",
            Level.Correctness,
            Fifo: true,
            PushesReleases: listens,
            HostLocal: false,
            PollInterval: TimeSpan.FromMilliseconds(listens ? 1_000 : 250),
            MaxRenewalBatch: 500
        );
        _database = new StateDatabase(context, new StatePlace(connectionString, schema, PlaceUse.Locks));
        _statements = new LeaseStatements(_database.Place.Quoted);
        var channel = ChannelName.Of(schema, _group, "released");
        _calls = new LeaseCalls(_database, _statements, _group, channel, Traits.PollInterval * 2);
        if (listens)
        {
            var place = new StatePlace(listenConnectionString!, schema, PlaceUse.Locks);
            _listener = new PostgresListener(place, times, _database.NotifyAsync, context.Time, _database.Log);
            _signals = new ReleaseSignals(_listener, channel, context, place.Endpoint, times.Echo);
        }
    }

    /// <inheritdoc/>
    public LeaseStoreTraits Traits { get; }

    /// <inheritdoc/>
    public async ValueTask<LeaseStoreInfo> CheckAsync(LockStoreUse use, CancellationToken cancellationToken)
    {
        try
        {
            await _database.OpenAsync(cancellationToken);
            var closedIfNew = use == LockStoreUse.Used ? _longestLease : TimeSpan.Zero;
            var (id, closed) = await _database.CallAsync(
                batch => batch.Add(_statements.Open).Text(_group).Number(Micros.Of(closedIfNew)),
                static async reader => await reader.ReadAsync() ? (reader.GetString(0), Micros.Left(reader.GetInt64(1))) : default,
                cancellationToken
            );
            if (id is null)
            {
                throw new StoreUnavailableException($"{_database.Place.Name} has no id. {PlaceUse.Locks.WhenDamaged}", permanent: true);
            }
            if (closed > TimeSpan.Zero)
            {
                throw new StoreUnavailableException(
                    $"{_database.Place.Name} knows nothing of group '{_group}', which has used a lock store before, so holders from before "
                        + $"may still act; it grants nothing for another {closed.TotalSeconds:0.0} s.",
                    retryAfter: closed
                );
            }
            _listener?.Start();
            return new LeaseStoreInfo(id, _database.Level, Warnings());
        }
        catch (StateUnavailableException problem)
        {
            throw StoreCalls.Unavailable(problem);
        }
    }

    /// <inheritdoc/>
    public ValueTask<StateMark?> PairAsync(StateMark? mark, TimeSpan replaceAfter, CancellationToken cancellationToken) =>
        _database.PairAsync(_statements, _group, mark, replaceAfter, cancellationToken);

    /// <inheritdoc/>
    /// <exception cref="ArgumentOutOfRangeException">The duration is below 1 ms or above
    /// <see cref="LeaseOptions.LongestLease"/>.</exception>
    public async ValueTask<AcquireResult> AcquireAsync(AcquireRequest request, CancellationToken cancellationToken)
    {
        StoreCalls.CheckKey(request.Key);
        ArgumentOutOfRangeException.ThrowIfLessThan(request.Duration, TimeSpan.FromMilliseconds(1), nameof(request));
        ArgumentOutOfRangeException.ThrowIfGreaterThan(request.Duration, _longestLease, nameof(request));
        cancellationToken.ThrowIfCancellationRequested();
        try
        {
            return await _calls.TakeAsync(request);
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
        try
        {
            return await _calls.RenewAsync(batch, cancellationToken);
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
        try
        {
            return await _calls.EndAsync(key, owner);
        }
        catch (StateUnavailableException problem)
        {
            throw StoreCalls.Unavailable(problem);
        }
    }

    /// <inheritdoc/>
    public async ValueTask<RevokeResult> RevokeAsync(LockKey key, long number, CancellationToken cancellationToken)
    {
        StoreCalls.CheckKey(key);
        return await _database.CallStoreAsync(
            batch => batch.Add(_statements.Revoke).Text(_group).Text(key.Value).Number(number),
            static async reader =>
                await reader.ReadAsync() ? new RevokeResult(reader.GetBoolean(0), Micros.Left(reader.GetInt64(1))) : default,
            cancellationToken
        );
    }

    /// <inheritdoc/>
    public async ValueTask<LeaseRecord?> ReadAsync(LockKey key, CancellationToken cancellationToken)
    {
        StoreCalls.CheckKey(key);
        return await _database.CallStoreAsync(
            batch => batch.Add(_statements.Read).Text(_group).Text(key.Value),
            static async reader => await reader.ReadAsync() ? Record(reader) : null,
            cancellationToken
        );
    }

    /// <inheritdoc/>
    public async ValueTask<LeasePage> ListAsync(string prefix, int limit, string? cursor, CancellationToken cancellationToken)
    {
        ArgumentNullException.ThrowIfNull(prefix);
        ArgumentOutOfRangeException.ThrowIfLessThan(limit, 1);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(limit, LargestPage);
        var found = await _database.CallStoreAsync(
            batch =>
                batch.Add(_statements.List).Text(_group).Text(Texts.Keepable(prefix)).Text(Texts.Keepable(cursor) ?? "").Number(limit + 1),
            static async reader =>
            {
                var records = new List<LeaseRecord>();
                while (await reader.ReadAsync())
                {
                    records.Add(Record(reader));
                }
                return records;
            },
            cancellationToken
        );
        return found.Count <= limit ? new LeasePage(found, Next: null) : new LeasePage(found[..limit], found[limit - 1].Key.Value);
    }

    /// <inheritdoc/>
    /// <remarks>Without a ListenConnectionString it reports nothing: <see cref="LeaseStoreTraits.PushesReleases"/> is false.</remarks>
    public async ValueTask<IAsyncDisposable> SubscribeAsync(Action<LockKey> mayBeFree, CancellationToken cancellationToken)
    {
        ArgumentNullException.ThrowIfNull(mayBeFree);
        cancellationToken.ThrowIfCancellationRequested();
        return _signals is null ? new NoSubscription() : await _signals.AddAsync(mayBeFree, cancellationToken);
    }

    /// <summary>Closes the connections; calls under way end by themselves, and grants that are left by their time.</summary>
    public async ValueTask DisposeAsync()
    {
        if (_listener is not null)
        {
            await _listener.DisposeAsync();
        }
        await _database.DisposeAsync();
    }

    private List<string> Warnings()
    {
        List<string> warnings = [];
        if (_database.Weakness is { } weakness)
        {
            warnings.Add($"It gives Level.Efficiency only: {weakness}");
        }
        if (_listener is null)
        {
            warnings.Add(
                $"Releases are not pushed: who waits for a key looks every {Traits.PollInterval.TotalMilliseconds:0} ms. With "
                    + "Scheduler:Locks:ListenConnectionString they are heard at once."
            );
        }
        return warnings;
    }

    private static LeaseRecord Record(NpgsqlDataReader row) =>
        new(
            LockKey.From(row.GetString(0)),
            row.GetString(1),
            row.GetString(2),
            row.GetInt64(3),
            Micros.Left(row.GetInt64(4)),
            row.GetBoolean(5)
        );

    private sealed class NoSubscription : IAsyncDisposable
    {
        public ValueTask DisposeAsync() => ValueTask.CompletedTask;
    }
}
