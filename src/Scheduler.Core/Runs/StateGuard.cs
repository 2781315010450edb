using Microsoft.Extensions.Logging;
using Scheduler.Inbox;
using Scheduler.Leases;
using Scheduler.Telemetry;

namespace Scheduler.Runs;

/// <summary>
/// Stands between the scheduler and the State: every call has a time limit; after one without an answer the State counts as down and
/// calls fail at once, until a probe (opening it again) succeeds. Thread-safe.
/// </summary>
public sealed class StateGuard : IAsyncDisposable
{
    /// <summary>What a call of the inbox may take, if not longer than other calls: it carries many rows, with their bodies.</summary>
    public static readonly TimeSpan InboxTimeout = TimeSpan.FromSeconds(4);

    private readonly IState _state;
    private readonly TimeSpan _callTimeout;
    private readonly TimeSpan _probeInterval;
    private readonly TimeProvider _time;
    private readonly ILogger _logger;
    private readonly CancellationTokenSource _disposed = new();
    private readonly Lock _gate = new();
    private StoreHealth _health;
    private Task _probes = Task.CompletedTask;
    private bool _isProbing;
    private bool _wasUp;

    /// <summary>Creates the guard; the State counts as down until <see cref="OpenAsync"/>.</summary>
    /// <param name="state">The State; disposed of with the guard.</param>
    /// <param name="callTimeout">The limit of one call.</param>
    /// <param name="probeInterval">The time between two probes while it is down.</param>
    /// <param name="time">The clocks.</param>
    /// <param name="logger">Where changes of health go.</param>
    public StateGuard(IState state, TimeSpan callTimeout, TimeSpan probeInterval, TimeProvider time, ILogger logger)
    {
        ArgumentNullException.ThrowIfNull(time);
        _state = state;
        _callTimeout = callTimeout;
        _probeInterval = probeInterval;
        _time = time;
        _logger = logger;
        _health = new StoreHealth(IsUp: false, "not opened yet", time.GetUtcNow());
    }

    /// <summary>Raised when the State answers again; handlers return at once.</summary>
    public event Action? CameUp;

    /// <summary>
    /// Raised when a probe finds, before the State was ever up, that only a change of configuration or set-up helps; perhaps more than
    /// once. Handlers return at once.
    /// </summary>
    public event Action<StateUnavailableException>? Refused;

    /// <summary>The backend's name.</summary>
    public string Name => _state.Name;

    /// <summary>The level that the State reaches.</summary>
    public Locking.Level Level => _state.Level;

    /// <summary>See <see cref="IState.Weakness"/>.</summary>
    public string? Weakness => _state.Weakness;

    /// <summary>See <see cref="IState.InboxFeed"/>.</summary>
    public Inbox.IInboxFeed? InboxFeed => _state.InboxFeed;

    /// <summary>Whether the State answers.</summary>
    public StoreHealth Health => Volatile.Read(ref _health);

    /// <summary>Opens the State once. A failure that time may mend starts the probes and is not thrown.</summary>
    /// <exception cref="StateUnavailableException">Only a change of configuration or set-up helps.</exception>
    public async ValueTask OpenAsync(CancellationToken cancellationToken)
    {
        try
        {
            // A migration may take longer than a call.
            await BoundAsync(async token => await NoResultAsync(_state.OpenAsync(token)), _callTimeout * 30, cancellationToken);
            Up();
        }
        catch (StateUnavailableException e) when (!e.IsPermanent)
        {
            Down(e.Message);
        }
    }

    /// <summary>Calls the State.</summary>
    /// <param name="call">The call; gets a token that fires with the limit.</param>
    /// <param name="cancellationToken">Ends the wait for the answer.</param>
    /// <exception cref="StateUnavailableException">It is down, or did not answer in time; the outcome of a write is unknown.</exception>
    public ValueTask<T> CallAsync<T>(Func<IState, CancellationToken, ValueTask<T>> call, CancellationToken cancellationToken)
    {
        ArgumentNullException.ThrowIfNull(call);
        return CallAsync(call, _callTimeout, isLateDown: true, cancellationToken);
    }

    /// <summary>
    /// Calls the State's inbox. A call that takes too long fails alone, because it may be its own size: whether the State answers is
    /// found out by the small calls, of which each heartbeat is one.
    /// </summary>
    /// <param name="call">The call; gets a token that fires with the limit.</param>
    /// <param name="cancellationToken">Ends the wait for the answer.</param>
    /// <exception cref="StateUnavailableException">There is no answer; the outcome of a write is unknown.</exception>
    public ValueTask<T> CallInboxAsync<T>(Func<IInbox, CancellationToken, ValueTask<T>> call, CancellationToken cancellationToken)
    {
        ArgumentNullException.ThrowIfNull(call);
        var limit = _callTimeout > InboxTimeout ? _callTimeout : InboxTimeout;
        return CallAsync((state, token) => call(state.Inbox, token), limit, isLateDown: false, cancellationToken);
    }

    /// <summary>Calls the State for a call without a result.</summary>
    /// <exception cref="StateUnavailableException">It is down, or did not answer in time; the outcome of a write is unknown.</exception>
    public async ValueTask CallAsync(Func<IState, CancellationToken, ValueTask> call, CancellationToken cancellationToken) =>
        await CallAsync(async (state, token) => await NoResultAsync(call(state, token)), cancellationToken);

    /// <summary>Calls the State for what it does on a connection of the caller's, who bounds it: whether the State is up does not
    /// matter.</summary>
    public ValueTask<T> WithinAsync<T>(Func<IState, ValueTask<T>> call)
    {
        ArgumentNullException.ThrowIfNull(call);
        return call(_state);
    }

    /// <summary>Ends the probes and disposes of the State.</summary>
    public async ValueTask DisposeAsync()
    {
        if (_disposed.IsCancellationRequested)
        {
            return;
        }
        await _disposed.CancelAsync();
        Task probes;
        lock (_gate)
        {
            probes = _probes;
        }
        await probes;
        await _state.DisposeAsync();
        _disposed.Dispose();
    }

    private async ValueTask<T> CallAsync<T>(
        Func<IState, CancellationToken, ValueTask<T>> call,
        TimeSpan limit,
        bool isLateDown,
        CancellationToken cancellationToken
    )
    {
        if (Health is { IsUp: false, Reason: var reason })
        {
            throw new StateUnavailableException($"State '{Name}' is down: {reason}");
        }
        try
        {
            return await BoundAsync(token => call(_state, token), limit, cancellationToken, isLateDown);
        }
        catch (StateUnavailableException e)
        {
            if (!e.IsOfOneCall)
            {
                Down(e.Message);
            }
            throw;
        }
    }

    private async ValueTask<T> BoundAsync<T>(
        Func<CancellationToken, ValueTask<T>> call,
        TimeSpan limit,
        CancellationToken cancellationToken,
        bool isLateDown = true
    )
    {
        using var linked = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        Task<T>? task = null;
        try
        {
            task = call(linked.Token).AsTask();
            return await task.WaitAsync(limit, _time, cancellationToken);
        }
        catch (TimeoutException)
        {
            await linked.CancelAsync();
            _ = task?.ContinueWith(
                static t => t.Exception,
                CancellationToken.None,
                TaskContinuationOptions.OnlyOnFaulted,
                TaskScheduler.Default
            );
            throw new StateUnavailableException($"State '{Name}' did not answer within {limit}.", ofOneCall: !isLateDown);
        }
        catch (Exception e)
            when (e is not (StateUnavailableException or ArgumentException)
                && (e is not OperationCanceledException || !cancellationToken.IsCancellationRequested)
            )
        {
            // A cancellation that the caller did not ask for is the driver's way to say that it has no answer.
            throw new StateUnavailableException($"State '{Name}' failed: {e.GetType().Name}: {e.Message}", e);
        }
    }

    private void Up()
    {
        lock (_gate)
        {
            if (_health.IsUp)
            {
                return;
            }
            _health = new StoreHealth(IsUp: true, null, _time.GetUtcNow());
            _wasUp = true;
            // Together with the flag, so that a failure right after it starts the next probes.
            _isProbing = false;
        }
        RunLog.StateUp(_logger, Name);
        CameUp?.Invoke();
    }

    private void Down(string reason)
    {
        lock (_gate)
        {
            var changed = _health.IsUp || _health.Reason != reason;
            _health = _health.IsUp ? new StoreHealth(IsUp: false, reason, _time.GetUtcNow()) : _health with { Reason = reason };
            if (changed)
            {
                RunLog.StateDown(_logger, Name, reason);
            }
            if (!_isProbing && !_disposed.IsCancellationRequested)
            {
                _isProbing = true;
                var before = _probes;
                _probes = Task.Run(async () =>
                {
                    await before;
                    await ProbeAsync();
                });
            }
        }
    }

    private async Task ProbeAsync()
    {
        while (!_disposed.IsCancellationRequested)
        {
            try
            {
                await Task.Delay(_probeInterval, _time, _disposed.Token);
                await BoundAsync(async token => await NoResultAsync(_state.OpenAsync(token)), _callTimeout * 30, _disposed.Token);
                Up();
                return;
            }
            catch (OperationCanceledException) when (_disposed.IsCancellationRequested)
            {
                return;
            }
#pragma warning disable CA1031 // Probes that ended would leave the State down for the life of the process.
            catch (Exception e)
#pragma warning restore CA1031
            {
                Down(e.Message);
                if (e is StateUnavailableException { IsPermanent: true } refused && !_wasUp)
                {
                    Refused?.Invoke(refused);
                }
            }
        }
    }

    private static async ValueTask<bool> NoResultAsync(ValueTask task)
    {
        await task;
        return true;
    }
}
