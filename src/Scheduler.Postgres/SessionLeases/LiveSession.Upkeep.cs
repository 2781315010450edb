using Scheduler.Postgres.Telemetry;

namespace Scheduler.Postgres.SessionLeases;

// What is due by itself: notes, and the ends of grants.
internal sealed partial class LiveSession
{
    /// <summary>Sends notes and lets go of what is over, until the session ends.</summary>
    private async Task KeepUpAsync()
    {
        var clock = OwnGrants.Clock;
        while (!IsOver)
        {
            Task wake;
            lock (_gate)
            {
                if (_wake.Task.IsCompleted)
                {
                    _wake = NewSignal();
                }
                wake = _wake.Task;
            }
            try
            {
                if (_closing && _own.Count == 0)
                {
                    await CallAsync(new CloseStep());
                    return;
                }
                var ended = _own.TakeEnded();
                if (ended.Count > 0)
                {
                    await Task.WhenAll(ended.Select(g => CallAsync(new EndStep(g)).AsTask()));
                    continue;
                }
                var (nextEnd, notNoted) = _own.Next();
                var now = clock.GetTimestamp();
                var isIdle = Volatile.Read(ref _underWay) == 0;
                var age = Ticks(isIdle ? SoonestNote : LatestNote);
                if (notNoted != long.MaxValue && now - notNoted >= age)
                {
                    await CallAsync(new NoteStep(age));
                    continue;
                }
                var next = Math.Min(nextEnd, notNoted == long.MaxValue ? notNoted : notNoted + Ticks(SoonestNote));
                next = Math.Max(next, now + Ticks(SoonestNote));
                Volatile.Write(ref _sleepsUntil, next);
                var sleep = next == long.MaxValue ? LongestSleep : TimeSpan.FromSeconds((next - now) / (double)clock.TimestampFrequency);
                await wake.WaitAsync(sleep < LongestSleep ? sleep : LongestSleep, TimeProvider.System)
                    .ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
                Volatile.Write(ref _sleepsUntil, long.MinValue);
            }
#pragma warning disable CA1031 // Whatever it was, what is held must still be let go at its end.
            catch (Exception problem)
#pragma warning restore CA1031
            {
                if (!IsOver)
                {
                    Log.UpkeepFailed(_context.Log, _context.Place.Name, problem.Message);
                    await Task.Delay(LatestNote, TimeProvider.System);
                }
            }
        }
    }

    private void WakeBefore(long since)
    {
        if (Volatile.Read(ref _sleepsUntil) > since + Ticks(SoonestNote))
        {
            Wake();
        }
    }

    private void Wake()
    {
        lock (_gate)
        {
            _wake.TrySetResult();
        }
    }
}
