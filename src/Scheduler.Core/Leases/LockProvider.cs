using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Abstractions;
using Scheduler.Locking;
using Scheduler.Telemetry;

namespace Scheduler.Leases;

/// <summary>Takes locks in one lease store and keeps their leases alive. One per store and process; thread-safe.</summary>
/// <remarks>
/// Until the store has passed a check nothing is asked of it; the first attempt does the check when <see cref="StartAsync"/> did not. Only
/// a check brings a store that counts as down up again; the watchdog goes on renewing meanwhile, so that an outage shorter than a lease
/// loses none. Disposing of the provider ends the leases that are still held as lost, without releasing them, because their work may
/// still run, and disposes of the store.
/// </remarks>
public sealed class LockProvider : ILockProvider, IAsyncDisposable
{
    /// <summary>The longest purpose, in characters.</summary>
    public const int MaxPurposeLength = 1_024;

    private const string Disposed = "The lock provider has been disposed of.";

    private readonly ILeaseStore _store;
    private readonly LeaseOptions _options;
    private readonly StoreGate _gate;
    private readonly LeaseRuntime _runtime;
    private int _disposed;

    /// <summary>Creates the provider; contacts nothing yet.</summary>
    /// <param name="store">The store, disposed of with the provider.</param>
    /// <param name="options">The times of leases; not changed any more.</param>
    /// <param name="replica">Who asks.</param>
    /// <param name="time">The clock; in production one that counts suspend (<see cref="Time.BootTimeProvider"/>).</param>
    /// <param name="loggers">Where to log; default: nowhere.</param>
    /// <param name="pairing">What belongs to the store; default: whatever it is, in generation 0.</param>
    public LockProvider(
        ILeaseStore store,
        LeaseOptions options,
        ReplicaIdentity replica,
        TimeProvider time,
        ILoggerFactory? loggers = null,
        ILockStorePairing? pairing = null
    )
    {
        ArgumentNullException.ThrowIfNull(store);
        ArgumentNullException.ThrowIfNull(options);
        ArgumentNullException.ThrowIfNull(replica);
        ArgumentNullException.ThrowIfNull(time);
        var log = new QuietLogger((loggers ?? NullLoggerFactory.Instance).CreateLogger("Scheduler.Leases"));
        _store = store;
        _options = options;
        _gate = new StoreGate(store, options, time, log, pairing);
        _runtime = new LeaseRuntime(store, options, replica.Id, time, log, _gate);
        _gate.CameUp = OnStoreUp;
        _gate.Refused = error => Refused?.Invoke(error);
    }

    /// <summary>
    /// Raised when a check finds, before the first that passed, that only a change of configuration or set-up helps; perhaps more than
    /// once. Handlers return at once.
    /// </summary>
    public event Action<StoreUnavailableException>? Refused;

    /// <inheritdoc/>
    public LeaseStoreTraits Traits => _store.Traits;

    /// <inheritdoc/>
    public LeaseStoreInfo? Info => _gate.Info;

    /// <inheritdoc/>
    public StoreHealth Health => _gate.Health;

    /// <summary>How many leases are held and watched now.</summary>
    public int HeldCount => _runtime.Watchdog.Count;

    /// <summary>Which store this replica may hold leases of: the one that it uses, and after that until its last lease is over.</summary>
    public string? StoreInUse => Health.IsUp || HeldCount > 0 ? Info?.Id : null;

    internal LeaseRuntime Runtime => _runtime;

    /// <summary>Uses the store no more until another check has passed, which pairs it again; leases that are held go on.</summary>
    /// <param name="reason">Why, a whole sentence.</param>
    public void CheckAgain(string reason)
    {
        ThrowIfDisposed();
        _gate.GoDown(reason);
    }

    /// <summary>Checks the store once, within five times <see cref="LeaseOptions.CallTimeout"/>.</summary>
    /// <param name="cancellationToken">Ends the wait for the check.</param>
    /// <returns>What the check found.</returns>
    /// <exception cref="StoreUnavailableException">The store cannot be used now; it is probed in the background from now on.</exception>
    public async ValueTask<LeaseStoreInfo> StartAsync(CancellationToken cancellationToken)
    {
        ThrowIfDisposed();
        return await _gate.StartAsync(cancellationToken);
    }

    /// <inheritdoc/>
    /// <exception cref="ArgumentException">The key is the default value, the purpose longer than <see cref="MaxPurposeLength"/>, or the
    /// duration outside 50 ms to <see cref="LeaseOptions.LongestLease"/>.</exception>
    /// <exception cref="OperationCanceledException">The attempt was cancelled.</exception>
    public ValueTask<LockAttempt> TryAcquireAsync(
        LockKey key,
        string purpose,
        TimeSpan? duration = null,
        CancellationToken cancellationToken = default
    ) => AcquireAsync(key, purpose, TimeSpan.Zero, duration, cancellationToken);

    /// <inheritdoc/>
    /// <exception cref="ArgumentException">The key is the default value, the purpose longer than <see cref="MaxPurposeLength"/>, the wait
    /// negative, or the duration outside 50 ms to <see cref="LeaseOptions.LongestLease"/>.</exception>
    /// <exception cref="OperationCanceledException">The wait was cancelled.</exception>
    public ValueTask<LockAttempt> AcquireAsync(
        LockKey key,
        string purpose,
        TimeSpan wait,
        TimeSpan? duration = null,
        CancellationToken cancellationToken = default
    )
    {
        ThrowIfDisposed();
        CheckKey(key);
        ArgumentNullException.ThrowIfNull(purpose);
        if (purpose.Length > MaxPurposeLength)
        {
            throw new ArgumentException(
                $"The purpose for '{key}' has {purpose.Length} characters; at most {MaxPurposeLength} are allowed.",
                nameof(purpose)
            );
        }
        ArgumentOutOfRangeException.ThrowIfLessThan(wait, TimeSpan.Zero);
        var lease = duration ?? _options.LeaseDuration;
        CheckDuration(lease, _options);
        cancellationToken.ThrowIfCancellationRequested();
        if (wait == TimeSpan.Zero)
        {
            return AskOnceAsync(key, purpose, lease, cancellationToken);
        }
        _runtime.Feed.EnsureSubscribed();
        return _runtime.Lines.WaitAsync(key, purpose, lease, wait, cancellationToken);
    }

    /// <inheritdoc/>
    public ValueTask<LeaseRecord?> ReadAsync(LockKey key, CancellationToken cancellationToken = default)
    {
        CheckKey(key);
        return _gate.CallAsync("read", key, static (store, key, token) => store.ReadAsync(key, token), cancellationToken);
    }

    /// <inheritdoc/>
    public ValueTask<LeasePage> ListAsync(string prefix, int limit, string? cursor = null, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(prefix);
        ArgumentOutOfRangeException.ThrowIfLessThan(limit, 1);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(limit, 1_000);
        return _gate.CallAsync(
            "list",
            (prefix, limit, cursor),
            static (store, page, token) => store.ListAsync(page.prefix, page.limit, page.cursor, token),
            cancellationToken
        );
    }

    /// <inheritdoc/>
    public async ValueTask<RevokeResult> RevokeAsync(LockKey key, CancellationToken cancellationToken = default)
    {
        var present = await ReadAsync(key, cancellationToken);
        return present is null
            ? new RevokeResult(Found: false, TimeSpan.Zero)
            : await _gate.CallAsync(
                "revoke",
                (key, present.Number),
                static (store, grant, token) => store.RevokeAsync(grant.key, grant.Number, token),
                cancellationToken
            );
    }

    /// <inheritdoc/>
    public IDisposable Watch(Action<LockKey> mayBeFree)
    {
        ArgumentNullException.ThrowIfNull(mayBeFree);
        ThrowIfDisposed();
        return _runtime.Feed.Watch(mayBeFree);
    }

    /// <summary>Ends everything in bounded time: held leases are lost (not released), waiters are answered, the store is disposed
    /// of.</summary>
    public async ValueTask DisposeAsync()
    {
        if (Interlocked.Exchange(ref _disposed, 1) != 0)
        {
            return;
        }
        _runtime.Watchdog.Stop();
        _runtime.Lines.Close(Disposed);
        await _runtime.Dropper.StopAsync(_options.CallTimeout);
        _gate.Stop();
        // Real time on purpose: a process that stops must not depend on a clock that somebody has to move.
        await _runtime
            .Feed.StopAsync()
            .WaitAsync(_options.CallTimeout * 2, TimeProvider.System)
            .ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        _runtime.Notifier.Stop();
        await _store
            .DisposeAsync()
            .AsTask()
            .WaitAsync(_options.CallTimeout * 2, TimeProvider.System)
            .ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
    }

    internal static void CheckDuration(TimeSpan duration, LeaseOptions options)
    {
        if (duration < LeaseMath.ShortestLease || duration > options.LongestLease)
        {
            throw new ArgumentOutOfRangeException(
                nameof(duration),
                duration,
                $"A lease of {duration} was asked for; allowed is {LeaseMath.ShortestLease} to LongestLease = {options.LongestLease}."
            );
        }
    }

    private async ValueTask<LockAttempt> AskOnceAsync(LockKey key, string purpose, TimeSpan duration, CancellationToken cancellationToken)
    {
        if (_runtime.Lines.AnswerFromLine(key) is { } held)
        {
            return held;
        }
        await _runtime.HoldBacks.WaitAsync(key, briefly: true, cancellationToken);
        return await _runtime.AskAsync(key, purpose, duration, waiting: 0, cancellationToken);
    }

    private void OnStoreUp(bool first)
    {
        _runtime.Dropper.Wake();
        if (!first)
        {
            _runtime.Watchdog.RenewAll();
            _runtime.Feed.Renew();
        }
        _runtime.Lines.WakeAll();
    }

    private void ThrowIfDisposed() => ObjectDisposedException.ThrowIf(Volatile.Read(ref _disposed) != 0, this);

    private static void CheckKey(LockKey key)
    {
        if (key.Value.Length == 0)
        {
            throw new ArgumentException("The lock key is the default value; make one with LockKey.From.", nameof(key));
        }
    }
}
