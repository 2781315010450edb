using System.Diagnostics.CodeAnalysis;
using System.Net;
using Microsoft.Extensions.Logging;
using Scheduler.Hosting;
using Scheduler.Redis.Telemetry;
using StackExchange.Redis;

namespace Scheduler.Redis;

/// <summary>
/// The one multiplexer of a store: made at first use, replaced when it stays silent. Every command has its time limit, every error
/// names the endpoint and no secret. Thread-safe.
/// </summary>
internal sealed class RedisConnection : IAsyncDisposable
{
    /// <summary>Several unanswered checks over a connection that calls itself connected: a path that died without a word.</summary>
    private const int SilentChecksBeforeReconnect = 3;

    private static readonly TimeSpan LogInterval = TimeSpan.FromSeconds(10);

    private readonly Lock _gate = new();
    private readonly ConfigurationOptions _options;
    private readonly RedisErrors _errors;
    private readonly Bounded _bounded;
    private readonly LogGate _failures;
    private readonly ILogger _log;
    private Task<ConnectionMultiplexer>? _connecting;
    private IDatabase? _database;
    private long _connectingSince;
    private int _silentChecks;
    private int _epoch;
    private bool _disposed;

    public RedisConnection(string connectionString, BackendContext context, ILogger log)
    {
        _log = log;
        _options = Read(connectionString, context);
        Endpoint = EndpointText(_options);
        _errors = new RedisErrors(Endpoint, _options.Ssl, context.Leases.CallTimeout, _options.Password);
        _bounded = new Bounded(context.Leases.CallTimeout, context.Time);
        _failures = new LogGate(LogInterval, context.Time);
        Database = _options.DefaultDatabase ?? 0;
    }

    /// <summary>Raised on a thread of the client when commands, or pushed messages, can flow again.</summary>
    public event EventHandler<ConnectionFailedEventArgs>? Restored;

    /// <summary>host:port, which may be shown.</summary>
    public string Endpoint { get; }

    /// <summary>The number of the database within the server.</summary>
    public int Database { get; }

    /// <summary>Changes whenever the connection for commands broke: what was checked over it must be checked again.</summary>
    public int Epoch => Volatile.Read(ref _epoch);

    /// <summary>The time limit of each command, for what is not a command.</summary>
    public Bounded Bounded => _bounded;

    /// <summary>How this server's errors are told.</summary>
    public RedisErrors Errors => _errors;

    public Exception Translate(Exception exception) => _errors.Translate(exception);

    /// <summary>Whether the exception means that the command never left this process, or that the server refused it.</summary>
    public static bool IsCertainlyNotDone(Exception exception) =>
        exception is RedisServerException
        || exception is RedisConnectionException { FailureType: ConnectionFailureType.UnableToResolvePhysicalConnection }
        || exception is RedisConnectionException { CommandStatus: CommandStatus.WaitingToBeSent };

    /// <summary>Calls a script by its hash and nothing but its hash.</summary>
    public Task<RedisResult> CallAsync(RedisScript script, RedisKey[] keys, RedisValue[] values, CancellationToken cancellationToken)
    {
        cancellationToken.ThrowIfCancellationRequested();
        return Volatile.Read(ref _database) is { } database
            ? _bounded.WaitAsync(database.ScriptEvaluateAsync(script.Hash, keys, values), cancellationToken)
            : ConnectAndCallAsync(script, keys, values, cancellationToken);
    }

    /// <summary>The same, but goes on on the thread that brings the answer, which brings no other.</summary>
    public Task<RedisResult> CallInlineAsync(RedisScript script, RedisKey[] keys, RedisValue[] values) =>
        Volatile.Read(ref _database) is { } database
            ? _bounded.WaitInlineAsync(database.ScriptEvaluateAsync(script.Hash, keys, values))
            : ConnectAndCallAsync(script, keys, values, CancellationToken.None);

    /// <summary>Whether commands can be sent now.</summary>
    public bool IsConnected => Volatile.Read(ref _database)?.Multiplexer.IsConnected == true;

    /// <summary>Calls a script at once, if there is a connection; the caller has the time limit.</summary>
    /// <returns>Whether it was sent.</returns>
    public bool TrySend(RedisScript script, RedisKey[] keys, RedisValue[] values, [NotNullWhen(true)] out Task<RedisResult>? call)
    {
        // The client would make an exception of a missing connection, which is much work for each call to a node that is down.
        call =
            Volatile.Read(ref _database) is { } database && database.Multiplexer.IsConnected
                ? database.ScriptEvaluateAsync(script.Hash, keys, values)
                : null;
        return call is not null;
    }

    /// <summary>Calls a script that grants nothing; a node that does not know it yet is told it first.</summary>
    public async Task<RedisResult> CallHarmlessAsync(
        RedisScript script,
        RedisKey[] keys,
        RedisValue[] values,
        CancellationToken cancellationToken
    )
    {
        try
        {
            return await CallAsync(script, keys, values, cancellationToken);
        }
        catch (RedisServerException unknown) when (RedisErrors.IsUnknownScript(unknown))
        {
            await LoadAsync(script, cancellationToken);
            return await CallAsync(script, keys, values, cancellationToken);
        }
    }

    /// <summary>Makes a script known to the node.</summary>
    public Task LoadAsync(RedisScript script, CancellationToken cancellationToken) =>
        CommandAsync("SCRIPT", ["LOAD", script.Text], cancellationToken);

    /// <summary>Sends any command.</summary>
    public async Task<RedisResult> CommandAsync(string command, object[] arguments, CancellationToken cancellationToken)
    {
        var database = await ConnectAsync(cancellationToken);
        return await _bounded.WaitAsync(database.ExecuteAsync(command, arguments), cancellationToken);
    }

    /// <summary>The client's side of pushed messages.</summary>
    public async Task<ISubscriber> SubscriberAsync(CancellationToken cancellationToken) =>
        (await ConnectAsync(cancellationToken)).Multiplexer.GetSubscriber();

    /// <summary>A check of the node passed.</summary>
    public void CheckPassed() => Volatile.Write(ref _silentChecks, 0);

    /// <summary>A check failed: what will not mend itself is replaced.</summary>
    public void CheckFailed(Exception exception)
    {
        if (exception is TimeoutException && Interlocked.Increment(ref _silentChecks) >= SilentChecksBeforeReconnect)
        {
            _log.Reconnecting(Endpoint, Interlocked.Exchange(ref _silentChecks, 0));
            Abandon();
        }
        else if (
            exception is RedisConnectionException
            && !IsConnected
            && _bounded.Time.GetElapsedTime(Volatile.Read(ref _connectingSince)) > TimeSpan.FromMilliseconds(2 * _options.ConnectTimeout)
        )
        {
            // The client may have stopped trying: one whose first handshake was interrupted stays as it is for ever.
            Abandon();
        }
    }

    /// <summary>Gives up the present multiplexer, whose connection looks alive and says nothing; the next command connects anew.</summary>
    private void Abandon()
    {
        Task<ConnectionMultiplexer>? old;
        lock (_gate)
        {
            old = _connecting;
            _connecting = null;
            _database = null;
            _epoch++;
        }
        if (old is not null)
        {
            _ = CloseAsync(old);
        }
    }

    public async ValueTask DisposeAsync()
    {
        Task<ConnectionMultiplexer>? last;
        lock (_gate)
        {
            _disposed = true;
            last = _connecting;
            _connecting = null;
            _database = null;
        }
        if (last is not null)
        {
            await CloseAsync(last);
        }
    }

    private async Task<RedisResult> ConnectAndCallAsync(
        RedisScript script,
        RedisKey[] keys,
        RedisValue[] values,
        CancellationToken cancellationToken
    )
    {
        var database = await ConnectAsync(cancellationToken);
        return await _bounded.WaitAsync(database.ScriptEvaluateAsync(script.Hash, keys, values), cancellationToken);
    }

    private async ValueTask<IDatabase> ConnectAsync(CancellationToken cancellationToken)
    {
        if (Volatile.Read(ref _database) is { } ready)
        {
            return ready;
        }
        Task<ConnectionMultiplexer> connecting;
        lock (_gate)
        {
            ObjectDisposedException.ThrowIf(_disposed, this);
            if (_connecting is null or { IsFaulted: true } or { IsCanceled: true })
            {
                // Off the caller's thread: the client resolves names before it first awaits.
                Volatile.Write(ref _connectingSince, _bounded.Time.GetTimestamp());
                _connecting = Task.Run(OpenAsync, CancellationToken.None);
            }
            connecting = _connecting;
        }
        var multiplexer = await _bounded.WaitAsync(connecting, cancellationToken);
        lock (_gate)
        {
            ObjectDisposedException.ThrowIf(_disposed, this);
            if (ReferenceEquals(connecting, _connecting))
            {
                _database ??= multiplexer.GetDatabase();
            }
            return _database ?? multiplexer.GetDatabase();
        }
    }

    private async Task<ConnectionMultiplexer> OpenAsync()
    {
        var multiplexer = await ConnectionMultiplexer.ConnectAsync(_options.Clone());
        LetAnswersComeApart(multiplexer);
        multiplexer.ConnectionFailed += (_, failure) =>
        {
            if (failure.ConnectionType == ConnectionType.Interactive)
            {
                Interlocked.Increment(ref _epoch);
            }
            if (!Volatile.Read(ref _disposed) && _failures.Opens(out var suppressed))
            {
                _log.ConnectionFailed(Endpoint, failure.FailureType.ToString(), suppressed);
            }
        };
        multiplexer.ConnectionRestored += (_, restored) =>
        {
            if (restored.ConnectionType == ConnectionType.Interactive)
            {
                _log.ConnectionRestored(Endpoint);
            }
            Restored?.Invoke(this, restored);
        };
        return multiplexer;
    }

    /// <summary>
    /// Version 1 of the client gives out all answers one after another unless it is told not to; then, as in later versions, which have
    /// no such order and at last no such switch, each comes on a thread of the pool, and code that blocks there holds up no other.
    /// </summary>
    private static void LetAnswersComeApart(ConnectionMultiplexer multiplexer) =>
        typeof(ConnectionMultiplexer).GetProperty("PreserveAsyncOrder")?.SetValue(multiplexer, false);

    private async Task CloseAsync(Task<ConnectionMultiplexer> opened)
    {
        try
        {
            var multiplexer = await opened;
            // Nothing is waited for: whoever still has a command under way has a time limit of their own.
            await _bounded.WaitAsync(CloseAndReturnAsync(multiplexer), CancellationToken.None);
        }
        catch (Exception gone) when (gone is RedisException or TimeoutException or ObjectDisposedException)
        {
            // It is closed, or never opened.
        }

        static async Task<bool> CloseAndReturnAsync(ConnectionMultiplexer multiplexer)
        {
            await Task.Yield();
            await multiplexer.CloseAsync(allowCommandsToComplete: false);
            multiplexer.Dispose();
            return true;
        }
    }

    private static ConfigurationOptions Read(string connectionString, BackendContext context)
    {
        ConfigurationOptions options;
        try
        {
            options = ConfigurationOptions.Parse(connectionString);
        }
        catch (Exception cause) when (cause is ArgumentException or FormatException)
        {
            // Neither the text nor the cause is shown: a comma in a password makes the rest of it look like an option.
#pragma warning disable MA0054
            throw new ArgumentException(
                "The connection string of Redis cannot be read. Allowed is host:port followed by options of StackExchange.Redis, "
                    + "for example 'redis.internal:6379,password=…,ssl=true'; a password must not contain a comma.",
                nameof(connectionString)
            );
#pragma warning restore MA0054
        }
        if (options.EndPoints.Count != 1)
        {
            throw new ArgumentException(
                $"The connection string of Redis names {options.EndPoints.Count} endpoints; the backend 'redis' needs exactly one. "
                    + "A comma in a password is read as the start of another endpoint.",
                nameof(connectionString)
            );
        }
        options.AbortOnConnectFail = false;
        // Scripts publish under the full name; a prefix would be put before the subscription only.
        options.ChannelPrefix = default;
        options.TieBreaker = "";
        options.ConfigurationChannel = "";
        options.ClientName ??= $"scheduler-{context.Replica.Name}";
        if (!connectionString.Contains("connectTimeout", StringComparison.OrdinalIgnoreCase))
        {
            options.ConnectTimeout = 2_000;
        }
        if (!connectionString.Contains("keepAlive", StringComparison.OrdinalIgnoreCase))
        {
            options.KeepAlive = 10;
        }
        return options;
    }

    private static string EndpointText(ConfigurationOptions options)
    {
        var (host, port) = options.EndPoints[0] switch
        {
            DnsEndPoint dns => (dns.Host, dns.Port),
            IPEndPoint ip => (ip.Address.ToString(), ip.Port),
            var other => (other.ToString() ?? "?", 0),
        };
        return string.Create(System.Globalization.CultureInfo.InvariantCulture, $"{host}:{(port != 0 ? port : options.Ssl ? 6380 : 6379)}");
    }
}
