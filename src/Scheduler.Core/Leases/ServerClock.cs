namespace Scheduler.Leases;

/// <summary>
/// Compares the wall clock of a server with our own monotonic clock from answer to answer. A server that expires grants by a clock that
/// jumped forward frees them before their holders' deadlines. Thread-safe.
/// </summary>
internal sealed class ServerClock(long frequency)
{
    /// <summary>What two readings may differ by, beyond what the duration of the calls explains.</summary>
    public static readonly TimeSpan Allowance = TimeSpan.FromMilliseconds(500);

    private readonly Lock _gate = new();
    private (TimeSpan Low, TimeSpan High, long At)? _offset;

    /// <summary>Takes in one reading.</summary>
    /// <param name="serverTime">What the server showed.</param>
    /// <param name="sentAt">Our timestamp before the command.</param>
    /// <param name="receivedAt">Our timestamp after the answer; the server read its clock between the two.</param>
    /// <returns>By how much the server's clock jumped beyond what the calls' durations explain, or zero.</returns>
    public TimeSpan Observe(DateTimeOffset serverTime, long sentAt, long receivedAt)
    {
        var server = serverTime.UtcDateTime - DateTime.UnixEpoch;
        var low = server - LeaseMath.ToTimeSpan(receivedAt, frequency);
        var high = server - LeaseMath.ToTimeSpan(sentAt, frequency);
        lock (_gate)
        {
            if (_offset is not { } last)
            {
                _offset = (low, high, receivedAt);
                return TimeSpan.Zero;
            }
            // What is known narrows with every quick answer, so that a slow one, which shows little, does not hide a jump; it widens
            // again by the rate at which two clocks may run apart.
            var drift = Drift(receivedAt - last.At);
            var (knownLow, knownHigh) = (last.Low - drift, last.High + drift);
            var forward = low - knownHigh;
            var backward = knownLow - high;
            if (forward > Allowance || backward > Allowance)
            {
                _offset = (low, high, receivedAt);
                return forward > Allowance ? forward : -backward;
            }
            // A small step, within the allowance, is not argued with: the newer reading counts.
            _offset =
                forward > TimeSpan.Zero || backward > TimeSpan.Zero
                    ? (low, high, receivedAt)
                    : (low > knownLow ? low : knownLow, high < knownHigh ? high : knownHigh, Math.Max(receivedAt, last.At));
            return TimeSpan.Zero;
        }
    }

    /// <summary>1 % of the time between two readings, as for leases; nothing for a reading that was overtaken.</summary>
    private TimeSpan Drift(long elapsed) => elapsed > 0 ? LeaseMath.ToTimeSpan(elapsed, frequency) / 100 : TimeSpan.Zero;
}
