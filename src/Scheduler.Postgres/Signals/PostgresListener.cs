using System.Globalization;
using Microsoft.Extensions.Logging;
using Npgsql;
using Scheduler.Postgres.State;
using Scheduler.Postgres.Telemetry;

namespace Scheduler.Postgres.Signals;

/// <summary>
/// Hears what is sent to channels, over one connection of its own. It tests itself: a signal that it sends the ordinary way has to come
/// back; if it does not, nothing is heard, and the connection is made anew. Thread-safe.
/// </summary>
internal sealed class PostgresListener : IAsyncDisposable
{
    private readonly StatePlace _place;
    private readonly ListenerTimes _times;
    private readonly Func<string, string, CancellationToken, ValueTask> _send;
    private readonly TimeProvider _time;
    private readonly ILogger _log;
    private readonly string _ownChannel = ChannelName.Of("test", Guid.NewGuid().ToString("n"));
    private readonly Dictionary<string, Action<string>> _channels = new(StringComparer.Ordinal);
    private readonly CancellationTokenSource _stop = new();
    private readonly Lock _gate = new();
    private TaskCompletionSource _heard = NewSignal();
    private volatile bool _isHeard;
    private string? _deafBecause;
    private int _lastEcho;
    private Task _running = Task.CompletedTask;

    /// <summary>Connects to nothing yet.</summary>
    /// <param name="place">Where it listens: the same database, and no proxy that pools transactions.</param>
    /// <param name="times">Its times.</param>
    /// <param name="send">Sends a payload to a channel, the ordinary way.</param>
    /// <param name="time">The clocks.</param>
    /// <param name="log">Where it says whether anything is heard.</param>
    public PostgresListener(
        StatePlace place,
        ListenerTimes times,
        Func<string, string, CancellationToken, ValueTask> send,
        TimeProvider time,
        ILogger log
    ) => (_place, _times, _send, _time, _log) = (place, times, send, time, log);

    /// <summary>Whether the last test has come back.</summary>
    public bool IsHeard => _isHeard;

    /// <summary>Waits until a test has come back.</summary>
    /// <returns>Whether one has within the time.</returns>
    public async Task<bool> WaitUntilHeardAsync(TimeSpan atMost, CancellationToken cancellationToken)
    {
        Task heard;
        lock (_gate)
        {
            if (_isHeard)
            {
                return true;
            }
            heard = _heard.Task;
        }
        await heard.WaitAsync(atMost, _time, cancellationToken).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        cancellationToken.ThrowIfCancellationRequested();
        return _isHeard;
    }

    /// <summary>Raised when signals may have been lost: after each connect, and when nothing is heard any more. Handlers return at once and
    /// never throw.</summary>
    public event Action? MayHaveMissed;

    /// <summary>Adds a channel; before <see cref="Start"/>.</summary>
    /// <param name="channel">From <see cref="ChannelName"/>.</param>
    /// <param name="heard">Gets each payload; returns at once and never throws.</param>
    public void Listen(string channel, Action<string> heard) => _channels.Add(channel, heard);

    /// <summary>Begins to listen; once, further calls do nothing.</summary>
    public void Start()
    {
        lock (_gate)
        {
            if (_running.IsCompleted && !_stop.IsCancellationRequested)
            {
                _running = Task.Run(RunAsync);
            }
        }
    }

    public async ValueTask DisposeAsync()
    {
        Task running;
        lock (_gate)
        {
            _stop.Cancel();
            running = _running;
        }
        await running;
    }

    private async Task RunAsync()
    {
        var pause = _times.FirstPause;
        while (!_stop.IsCancellationRequested)
        {
            string reason;
            try
            {
                await using var connection = await ConnectAsync();
                reason = await HearAsync(connection);
            }
            catch (OperationCanceledException) when (_stop.IsCancellationRequested)
            {
                return;
            }
#pragma warning disable CA1031 // A loop that ended would be deaf for the life of the process.
            catch (Exception problem)
#pragma warning restore CA1031
            {
                reason = StateProblem.Short(problem);
            }
            pause = _isHeard ? _times.FirstPause : pause;
            Deaf(reason);
            // Not all replicas at once, after an outage.
            await Task.Delay(pause * (0.5 + (Random.Shared.NextDouble() / 2)), _time, _stop.Token)
                .ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            pause = pause * 2 < _times.LongestPause ? pause * 2 : _times.LongestPause;
        }
    }

    private async Task<NpgsqlConnection> ConnectAsync()
    {
        var opening = OpenAsync();
        try
        {
            return await opening.WaitAsync(_times.Connect, _time, _stop.Token);
        }
        catch
        {
            // Whenever it is open after all, nobody wants it any more.
            _ = opening.ContinueWith(
                static o => o.IsCompletedSuccessfully ? o.Result.DisposeAsync().AsTask() : Task.FromResult(o.Exception),
                CancellationToken.None,
                TaskContinuationOptions.None,
                TaskScheduler.Default
            );
            throw;
        }
    }

    private async Task<NpgsqlConnection> OpenAsync()
    {
        var connection = _place.CreateListening(_times.Connect);
        try
        {
            await connection.OpenAsync();
            connection.Notification += (_, signal) => Hear(signal.Channel, signal.Payload);
            await using var listen = new NpgsqlCommand(
                string.Concat(_channels.Keys.Append(_ownChannel).Select(c => $"LISTEN {c};")) + StatePlace.KeepAliveSettings,
                connection
            );
            await listen.ExecuteNonQueryAsync();
            return connection;
        }
        catch
        {
            await connection.DisposeAsync();
            throw;
        }
    }

    /// <summary>Hears, and tests itself, until a test does not come back.</summary>
    /// <returns>Why nothing is heard.</returns>
    private async Task<string> HearAsync(NpgsqlConnection connection)
    {
        // What was sent while nobody listened is lost.
        MayHaveMissed?.Invoke();
        for (var test = Volatile.Read(ref _lastEcho) + 1; ; test++)
        {
            await _send(_ownChannel, test.ToString(CultureInfo.InvariantCulture), _stop.Token);
            await WaitAsync(connection, _times.Echo, () => Volatile.Read(ref _lastEcho) == test);
            if (Volatile.Read(ref _lastEcho) != test)
            {
                return string.Create(
                    CultureInfo.InvariantCulture,
                    $"its own signal did not come back within {_times.Echo.TotalSeconds:0.#} s. "
                        + $"{_place.Use.Section}:ListenConnectionString has to lead to the same database and "
                        + $"past every proxy that pools transactions"
                );
            }
            if (!_isHeard)
            {
                TaskCompletionSource heard;
                lock (_gate)
                {
                    _isHeard = true;
                    (heard, _heard) = (_heard, NewSignal());
                }
                heard.TrySetResult();
                _deafBecause = null;
                Log.Heard(_log, _place.Endpoint);
            }
            await WaitAsync(connection, _times.BetweenTests, static () => false);
        }
    }

    private async Task WaitAsync(NpgsqlConnection connection, TimeSpan atMost, Func<bool> isEnough)
    {
        var since = _time.GetTimestamp();
        while (!isEnough())
        {
            var left = atMost - _time.GetElapsedTime(since);
            if (left < TimeSpan.FromMilliseconds(1) || !await connection.WaitAsync(left, _stop.Token))
            {
                return;
            }
        }
    }

    private void Hear(string channel, string payload)
    {
        if (channel == _ownChannel)
        {
            Volatile.Write(ref _lastEcho, int.Parse(payload, CultureInfo.InvariantCulture));
        }
        else if (_channels.TryGetValue(channel, out var heard))
        {
            heard(payload);
        }
    }

    private static TaskCompletionSource NewSignal() => new(TaskCreationOptions.RunContinuationsAsynchronously);

    private void Deaf(string reason)
    {
        _isHeard = false;
        if (_deafBecause != reason)
        {
            _deafBecause = reason;
            Log.Deaf(_log, _place.Endpoint, _place.Use.WithoutSignals, reason);
        }
        MayHaveMissed?.Invoke();
    }
}

/// <summary>The times of a listener.</summary>
internal sealed record ListenerTimes
{
    /// <summary>Between two tests.</summary>
    public TimeSpan BetweenTests { get; init; } = TimeSpan.FromSeconds(5);

    /// <summary>Within which a test has to come back.</summary>
    public TimeSpan Echo { get; init; } = TimeSpan.FromSeconds(2);

    /// <summary>Within which there has to be a connection that listens.</summary>
    public TimeSpan Connect { get; init; } = TimeSpan.FromSeconds(5);

    /// <summary>Before the first new connection; each further one doubles it, a half less at random.</summary>
    public TimeSpan FirstPause { get; init; } = TimeSpan.FromMilliseconds(500);

    /// <summary>Up to here.</summary>
    public TimeSpan LongestPause { get; init; } = TimeSpan.FromSeconds(30);
}
