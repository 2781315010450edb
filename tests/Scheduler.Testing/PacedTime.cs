using System.Diagnostics;

namespace Scheduler.Testing;

/// <summary>
/// A replica's clock beside a real server: runs at the pace of real time until a test freezes it, moves it, or lets it run on.
/// Reading it is exact; its timers come up to a few milliseconds late. Thread-safe.
/// </summary>
public sealed class PacedTime : TimeProvider, IAsyncDisposable
{
    private static readonly TimeSpan Step = TimeSpan.FromMilliseconds(5);
    private readonly Lock _gate = new();
    private readonly FakeTime _timers = new();
    private readonly DateTimeOffset _start;
    private readonly CancellationTokenSource _stop = new();
    private readonly Task _pump;
    private TimeSpan _moved;
    private long? _runningSince = Stopwatch.GetTimestamp();

    public PacedTime()
    {
        _start = System.GetUtcNow();
        _pump = Task.Factory.StartNew(Pump, TaskCreationOptions.LongRunning);
    }

    public override long TimestampFrequency => TimeSpan.TicksPerSecond;

    public override TimeZoneInfo LocalTimeZone => TimeZoneInfo.Utc;

    public override DateTimeOffset GetUtcNow() => _start + Elapsed();

    public override long GetTimestamp() => TimeSpan.TicksPerHour + Elapsed().Ticks;

    /// <summary>Stops the clock, as for a process that is not scheduled.</summary>
    public void Freeze()
    {
        lock (_gate)
        {
            _moved = ElapsedInGate();
            _runningSince = null;
        }
    }

    /// <summary>Moves the clock forward at once; timers that come due fire soon after, on the clock's own thread.</summary>
    public void Advance(TimeSpan by)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(by, TimeSpan.Zero);
        lock (_gate)
        {
            _moved += by;
        }
    }

    /// <summary>Lets a frozen clock run on from where it stands.</summary>
    public void Run()
    {
        lock (_gate)
        {
            _runningSince ??= Stopwatch.GetTimestamp();
        }
    }

    public override ITimer CreateTimer(TimerCallback callback, object? state, TimeSpan dueTime, TimeSpan period)
    {
        var timer = _timers.CreateTimer(callback, state, Timeout.InfiniteTimeSpan, period);
        var paced = new PacedTimer(this, timer);
        paced.Change(dueTime, period);
        return paced;
    }

    /// <summary>Ends the clock's thread.</summary>
    public async ValueTask DisposeAsync()
    {
        await _stop.CancelAsync();
        await _pump;
        _stop.Dispose();
    }

    private TimeSpan Elapsed()
    {
        lock (_gate)
        {
            return ElapsedInGate();
        }
    }

    private TimeSpan ElapsedInGate() => _moved + (_runningSince is { } since ? Stopwatch.GetElapsedTime(since) : TimeSpan.Zero);

    private TimeSpan TimersElapsed() => TimeSpan.FromTicks(_timers.GetTimestamp() - TimeSpan.TicksPerHour);

    // On a thread of its own, so that a starved pool does not stop the clock.
    private void Pump()
    {
        while (!_stop.Token.WaitHandle.WaitOne(Step))
        {
            var behind = Elapsed() - TimersElapsed();
            if (behind > TimeSpan.Zero)
            {
                _timers.Advance(behind);
            }
        }
    }

    private sealed class PacedTimer(PacedTime owner, ITimer timer) : ITimer
    {
        // The timers' clock lags behind the one that is read; without the difference a timer would fire early.
        public bool Change(TimeSpan dueTime, TimeSpan period) =>
            timer.Change(
                dueTime == Timeout.InfiniteTimeSpan
                    ? dueTime
                    : dueTime + Max(owner.Elapsed() - owner.TimersElapsed(), TimeSpan.FromTicks(1)),
                period
            );

        public void Dispose() => timer.Dispose();

        public ValueTask DisposeAsync() => timer.DisposeAsync();

        private static TimeSpan Max(TimeSpan left, TimeSpan right) => left > right ? left : right;
    }
}
