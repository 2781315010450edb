using Microsoft.Extensions.Logging;
using Scheduler.Telemetry;

namespace Scheduler.Leases;

/// <summary>Ends the leases of a store whose clock jumped: their expiry there cannot be told from here any more. Thread-safe.</summary>
internal sealed class ServerClockGuard(TimeProvider time, LeaseMetrics metrics, ILogger log, string store, Func<LossReason, int> endAll)
{
    private readonly ServerClock _clock = new(time.TimestampFrequency);
    private int _jumps;

    /// <summary>How many jumps were seen.</summary>
    public int Jumps => Volatile.Read(ref _jumps);

    public void Observe(DateTimeOffset serverTime, long sentAt, long receivedAt)
    {
        var jump = _clock.Observe(serverTime, sentAt, receivedAt);
        if (jump != TimeSpan.Zero)
        {
            // Counted first: a grant that is under way is watched only after this, and then sees that it must not count.
            Interlocked.Increment(ref _jumps);
            var ended = endAll(LossReason.ServerClockJumped);
            metrics.ClockJumped();
            Log.ServerClockJumped(log, store, jump, ended);
        }
    }
}
