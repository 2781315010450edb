using Scheduler.Worker.Telemetry;

namespace Scheduler.Worker.Ingress;

/// <summary>Logs deliveries that are not kept: for each source and status the first at once, then one line in ten seconds with how many
/// there were, because anybody may send them. Thread-safe.</summary>
internal sealed class RefusalLog(TimeProvider time, ILogger<RefusalLog> logger)
{
    private static readonly TimeSpan Interval = TimeSpan.FromSeconds(10);

    private readonly Lock _gate = new();
    private readonly Dictionary<(string Source, int Status), (long At, int Count)> _told = [];

    /// <summary>Tells of one.</summary>
    /// <param name="source">A configured source.</param>
    /// <param name="status">The answer's status.</param>
    /// <param name="reason">Why; without secrets and anything of the body.</param>
    public void Add(string source, int status, string reason)
    {
        int count;
        lock (_gate)
        {
            var known = _told.TryGetValue((source, status), out var last);
            count = last.Count + 1;
            if (known && time.GetElapsedTime(last.At) < Interval)
            {
                _told[(source, status)] = (last.At, count);
                return;
            }
            _told[(source, status)] = (time.GetTimestamp(), 0);
        }
        logger.WebhookRefused(source, status, count, reason);
    }
}
