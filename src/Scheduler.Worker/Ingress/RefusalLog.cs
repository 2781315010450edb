using Scheduler.Worker.Telemetry;

namespace Scheduler.Worker.Ingress;

/// <summary>Logs deliveries that are not kept or wait for a person: for each source and kind the first at once, then one line in ten
/// seconds with how many there were, because anybody may send them. Thread-safe.</summary>
internal sealed class RefusalLog(TimeProvider time, ILogger<RefusalLog> logger)
{
    private const string Conflicts = "conflict";
    private const string Quarantine = "quarantined";
    private static readonly TimeSpan Interval = TimeSpan.FromSeconds(10);

    private readonly Lock _gate = new();
    private readonly Dictionary<(string Source, string Kind), (long At, int Count)> _told = [];

    /// <summary>Tells of one that is not kept.</summary>
    /// <param name="source">A configured source.</param>
    /// <param name="status">The answer's status.</param>
    /// <param name="reason">Why; without secrets and anything of the body.</param>
    public void Add(string source, int status, string reason)
    {
        if (Count(source, status.ToString(System.Globalization.CultureInfo.InvariantCulture)) is { } count)
        {
            logger.WebhookRefused(source, status, count, reason);
        }
    }

    /// <summary>Tells of one that contradicts an event.</summary>
    public void AddConflict(string source, string eventId)
    {
        if (Count(source, Conflicts) is { } count)
        {
            logger.WebhookConflict(source, eventId, count);
        }
    }

    /// <summary>Tells of one that is quarantined.</summary>
    public void AddQuarantined(string source, string eventId, string reason)
    {
        if (Count(source, Quarantine) is { } count)
        {
            logger.WebhookQuarantined(eventId, source, count, reason);
        }
    }

    // How many to tell of; none while the last line is too young.
    private int? Count(string source, string kind)
    {
        lock (_gate)
        {
            var known = _told.TryGetValue((source, kind), out var last);
            if (known && time.GetElapsedTime(last.At) < Interval)
            {
                _told[(source, kind)] = last with { Count = last.Count + 1 };
                return null;
            }
            _told[(source, kind)] = (time.GetTimestamp(), 0);
            return last.Count + 1;
        }
    }
}
