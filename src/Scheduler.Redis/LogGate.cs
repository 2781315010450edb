namespace Scheduler.Redis;

/// <summary>Lets one log line through per interval and counts the others. Thread-safe.</summary>
internal sealed class LogGate(TimeSpan interval, TimeProvider time)
{
    private readonly Lock _gate = new();
    private long? _last;
    private int _suppressed;

    public bool Opens(out int suppressed)
    {
        lock (_gate)
        {
            suppressed = _suppressed;
            if (_last is { } last && time.GetElapsedTime(last) < interval)
            {
                _suppressed++;
                return false;
            }
            _last = time.GetTimestamp();
            _suppressed = 0;
            return true;
        }
    }
}
