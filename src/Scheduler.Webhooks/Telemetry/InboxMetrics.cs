using System.Diagnostics.Metrics;
using Scheduler.Inbox;

namespace Scheduler.Webhooks.Telemetry;

/// <summary>
/// What waits in the inbox, as gauges of the meter <c>Scheduler</c>, each tagged with the replica that counted and the source. They count
/// the group's events, so every replica shows the same. Thread-safe.
/// </summary>
internal sealed class InboxMetrics(ReplicaIdentity replica)
{
    private static readonly Meter Meter = new("Scheduler");
    private static readonly Gauge<int> Waiting = Meter.CreateGauge<int>(
        "scheduler.inbox.waiting",
        "{event}",
        "Events that wait to be processed or are; ends at 10,000."
    );
    private static readonly Gauge<double> OldestDue = Meter.CreateGauge<double>(
        "scheduler.inbox.oldest_due",
        "s",
        "For how long the first event has been due that nobody has taken; 0 without one."
    );
    private static readonly Gauge<int> Dead = Meter.CreateGauge<int>(
        "scheduler.inbox.dead",
        "{event}",
        "Events whose attempts are used up; ends at 10,000."
    );
    private static readonly Gauge<int> Conflicts = Meter.CreateGauge<int>(
        "scheduler.inbox.conflicts",
        "{event}",
        "Events that contradict another one; ends at 10,000."
    );
    private static readonly Gauge<int> Quarantined = Meter.CreateGauge<int>(
        "scheduler.inbox.quarantined",
        "{event}",
        "Genuine events without JSON or without a key; ends at 10,000."
    );
    private static readonly Gauge<int> Unhandled = Meter.CreateGauge<int>(
        "scheduler.inbox.unhandled",
        "{event}",
        "Events of types that the replica has no handler for, due for 5 minutes or more."
    );

    /// <summary>A source was counted.</summary>
    public void Counted(InboxCounts counts, int unhandled)
    {
        KeyValuePair<string, object?>[] tags = [new("replica", replica.Name), new("source", counts.Source)];
        Waiting.Record(counts.Waiting, tags);
        OldestDue.Record(counts.Due.Select(d => d.Oldest).DefaultIfEmpty().Max().TotalSeconds, tags);
        Dead.Record(counts.Dead, tags);
        Conflicts.Record(counts.Conflicts, tags);
        Quarantined.Record(counts.Quarantined, tags);
        Unhandled.Record(unhandled, tags);
    }
}
