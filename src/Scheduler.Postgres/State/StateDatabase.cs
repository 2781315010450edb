using Microsoft.Extensions.Logging;
using Npgsql;
using Scheduler.Hosting;
using Scheduler.Locking;
using Scheduler.Runs;

namespace Scheduler.Postgres.State;

/// <summary>The connections to a schema of a database, and how calls go over them: bounded, and once more when a connection died.
/// Thread-safe.</summary>
/// <remarks>
/// A call that is given up is not cancelled: the driver's cancellation waits for the server without a bound. It goes on by itself until
/// the server answers, ends it by its own limit, or TCP gives up; at most <see cref="PlaceUse.MostConnections"/> can be in that state,
/// and opening again begins with connections of its own.
/// </remarks>
internal sealed class StateDatabase : IAsyncDisposable
{
    /// <summary>How many calls may be under way or wait.</summary>
    public const int MostCalls = 10_000;

    private const int Tries = 3;

    private readonly BackendContext _context;
    private readonly ILogger _log;
    private readonly Lock _gate = new();
    private Task _opening = Task.CompletedTask;
    private volatile NpgsqlDataSource? _source;
    private volatile bool _limitsInTransaction;
    private volatile bool _disposed;
    private volatile string? _weakness;
    private bool _tookNoOptions;
    private int _calls;

    /// <summary>Connects to nothing.</summary>
    public StateDatabase(BackendContext context, StatePlace place)
    {
        _context = context;
        _log = context.Loggers.CreateLogger(place.Use == PlaceUse.State ? typeof(PostgresState) : typeof(Leases.PostgresLeaseStore));
        Place = place;
    }

    public StatePlace Place { get; }

    /// <summary>The level that was found when it was opened last.</summary>
    public Level Level => _weakness is null ? Level.Correctness : Level.Efficiency;

    /// <summary>Why it was not the better level.</summary>
    public string? Weakness => _weakness;

    public ILogger Log => _log;

    /// <summary>Whether the sessions' limits are set in each transaction, because a proxy takes no start-up options.</summary>
    public bool LimitsInTransaction => _limitsInTransaction;

    // Callers have their own, shorter limit; this one holds for those that have none.
    private TimeSpan Limit => _context.Leases.CallTimeout > Place.Use.LeastLimit ? _context.Leases.CallTimeout : Place.Use.LeastLimit;

    // Less than a call's limit, so that one row that a person has locked is named, and delays no others of its group for long.
    private TimeSpan LockLimit => _context.Leases.CallTimeout * 0.4;

    /// <summary>Connects, checks the server and makes or migrates the schema. An attempt that did not answer in time goes on, and the
    /// next call waits for it.</summary>
    /// <exception cref="StateUnavailableException">It cannot be used; the message names place, reason and remedy.</exception>
    public async ValueTask OpenAsync(CancellationToken cancellationToken)
    {
        cancellationToken.ThrowIfCancellationRequested();
        try
        {
            await Opening().WaitAsync(Limit * 6, _context.Time, cancellationToken);
        }
        catch (TimeoutException late)
        {
            throw StateProblem.Late(Place, Limit * 6, late);
        }
    }

    /// <summary>Sends statements as one round trip and one transaction, and reads the rows of the last.</summary>
    /// <param name="fill">Adds the statements; called again when they are sent again.</param>
    /// <param name="read">Reads the rows.</param>
    /// <param name="cancellationToken">Ends the wait for the answer; the outcome of a write is then unknown.</param>
    /// <exception cref="StateUnavailableException">There is no answer; the outcome of a write is unknown.</exception>
    /// <exception cref="ArgumentException">PostgreSQL cannot keep one of the values.</exception>
    public async ValueTask<T> CallAsync<T>(
        Action<NpgsqlBatch> fill,
        Func<NpgsqlDataReader, Task<T>> read,
        CancellationToken cancellationToken
    )
    {
        cancellationToken.ThrowIfCancellationRequested();
        if (Interlocked.Increment(ref _calls) > MostCalls)
        {
            Interlocked.Decrement(ref _calls);
            throw StateProblem.TooMany(Place, MostCalls);
        }
        var start = _context.Time.GetTimestamp();
        var call = SendAsync(fill, read, start);
        try
        {
            return await call.WaitAsync(Limit, _context.Time, cancellationToken);
        }
        catch (TimeoutException late)
        {
            throw StateProblem.Late(Place, Limit, late);
        }
        finally
        {
            if (!call.IsCompleted)
            {
                // Observed here: nobody waits for it any more.
                _ = call.ContinueWith(
                    static ended => ended.Exception,
                    CancellationToken.None,
                    TaskContinuationOptions.OnlyOnFaulted,
                    TaskScheduler.Default
                );
            }
            Interlocked.Decrement(ref _calls);
        }
    }

    /// <summary>The same, with a commit that waits for the disk whatever the server's setting.</summary>
    /// <exception cref="StateUnavailableException">There is no answer; the outcome of a write is unknown.</exception>
    /// <exception cref="ArgumentException">PostgreSQL cannot keep one of the values.</exception>
    public ValueTask<T> CallDurablyAsync<T>(
        Action<NpgsqlBatch> fill,
        Func<NpgsqlDataReader, Task<T>> read,
        CancellationToken cancellationToken
    ) =>
        CallAsync(
            batch =>
            {
                batch.Add($"SELECT {Place.Quoted}.durable()");
                fill(batch);
            },
            async reader =>
            {
                await reader.NextResultAsync();
                return await read(reader);
            },
            cancellationToken
        );

    /// <summary>Sends statements without rows as one round trip and one transaction.</summary>
    /// <exception cref="StateUnavailableException">There is no answer; the outcome is unknown.</exception>
    /// <exception cref="ArgumentException">PostgreSQL cannot keep one of the values.</exception>
    public async ValueTask WriteAsync(Action<NpgsqlBatch> fill, CancellationToken cancellationToken) =>
        await CallAsync(fill, static _ => Task.FromResult(true), cancellationToken);

    /// <summary>Sends a payload to those who listen to a channel. Nothing waits for the disk: after a crash nobody listens.</summary>
    /// <exception cref="StateUnavailableException">There is no answer; whether it was sent is unknown.</exception>
    public ValueTask NotifyAsync(string channel, string payload, CancellationToken cancellationToken) =>
        WriteAsync(
            batch => batch.Add("SELECT set_config('synchronous_commit', 'off', true), pg_notify($1, $2)").Text(channel).Text(payload),
            cancellationToken
        );

    /// <summary>Closes the connections that are not in use; the others close when their call ends.</summary>
    public async ValueTask DisposeAsync()
    {
        NpgsqlDataSource? source;
        lock (_gate)
        {
            _disposed = true;
            source = _source;
            _source = null;
        }
        if (source is not null)
        {
            await source.DisposeAsync();
        }
    }

    private async Task<T> SendAsync<T>(Action<NpgsqlBatch> fill, Func<NpgsqlDataReader, Task<T>> read, long start)
    {
        for (var attempt = 1; ; attempt++)
        {
            var source = _source ?? throw StateProblem.NotOpen(Place);
            try
            {
                await using var connection = await source.OpenConnectionAsync();
                await using var batch = new NpgsqlBatch(connection);
                var hasLimits = _limitsInTransaction;
                if (hasLimits)
                {
                    batch.AddLimits(Limit, LockLimit);
                }
                fill(batch);
                if (!hasLimits)
                {
                    // A round trip at the first use on a connection. Never over a proxy: a statement of that name that somebody else has
                    // prepared there would be run without a word.
                    await batch.PrepareAsync();
                }
                await using var reader = await batch.ExecuteReaderAsync();
                if (hasLimits)
                {
                    await reader.NextResultAsync();
                }
                var answer = await read(reader);
                // An error of what stands behind the rows shows only here, and so does one of the commit.
                while (await reader.NextResultAsync()) { }
                return answer;
            }
            catch (Exception problem) when (problem is not StateUnavailableException)
            {
                var isWorthAnother = StateProblem.IsPassing(problem) || (problem is ObjectDisposedException && !_disposed);
                if (attempt == Tries || !isWorthAnother || _context.Time.GetElapsedTime(start) > Limit)
                {
                    throw StateProblem.Explain(Place, problem);
                }
                Telemetry.Log.Retried(_log, Place.Name, StateProblem.Short(problem));
            }
        }
    }

    private Task Opening()
    {
        lock (_gate)
        {
            ObjectDisposedException.ThrowIf(_disposed, typeof(StateDatabase));
            if (_opening.IsCompleted)
            {
                _opening = Task.Run(OpenCoreAsync);
                // Observed here, for the case that all who wait have gone.
                _ = _opening.ContinueWith(
                    static t => t.Exception,
                    CancellationToken.None,
                    TaskContinuationOptions.OnlyOnFaulted,
                    TaskScheduler.Default
                );
            }
            return _opening;
        }
    }

    private async Task OpenCoreAsync()
    {
        NpgsqlDataSource? source = null;
        try
        {
            bool inTransaction;
            ServerFacts facts;
            (source, facts, inTransaction) = await ConnectAsync();
            facts.ThrowIfUnfit(Place);
            await using (var connection = await source.OpenConnectionAsync())
            {
                await Migrations.ApplyAsync(connection, Place, _log);
            }
            Settle(facts);
            NpgsqlDataSource? before;
            lock (_gate)
            {
                ObjectDisposedException.ThrowIf(_disposed, typeof(StateDatabase));
                _limitsInTransaction = inTransaction;
                (before, _source, source) = (_source, source, null);
            }
            if (before is not null)
            {
                await before.DisposeAsync();
            }
        }
        catch (Exception problem) when (problem is not (StateUnavailableException or ObjectDisposedException))
        {
            throw StateProblem.Explain(Place, problem);
        }
        finally
        {
            if (source is not null)
            {
                await source.DisposeAsync();
            }
        }
    }

    // A proxy refuses the options, or says nothing and drops them.
    private async Task<(NpgsqlDataSource Source, ServerFacts Facts, bool LimitsInTransaction)> ConnectAsync()
    {
        if (!_tookNoOptions)
        {
            var direct = Place.CreateSource(Limit, LockLimit, Place.Use.MostConnections, ownSessions: true);
            try
            {
                var facts = await ServerFacts.ReadAsync(direct);
                if (facts.IsOwnSession && facts.StatementTimeout != TimeSpan.Zero)
                {
                    return (direct, facts, false);
                }
            }
            catch (PostgresException refused) when (StateProblem.IsAboutOptions(refused)) { }
            catch
            {
                await direct.DisposeAsync();
                throw;
            }
            await direct.DisposeAsync();
            Telemetry.Log.NoStartupOptions(_log, Place.Name);
            _tookNoOptions = true;
        }
        var plain = Place.CreateSource(Limit, LockLimit, Place.Use.MostConnections, ownSessions: false);
        try
        {
            return (plain, await ServerFacts.ReadAsync(plain), true);
        }
        catch
        {
            await plain.DisposeAsync();
            throw;
        }
    }

    private void Settle(ServerFacts facts)
    {
        var weakness = facts.FindWeakness();
        if (weakness is not null && (_source is null || _weakness is null))
        {
            Telemetry.Log.Weak(_log, Place.Use.What, Place.Name, weakness);
        }
        _weakness = weakness;
    }
}
