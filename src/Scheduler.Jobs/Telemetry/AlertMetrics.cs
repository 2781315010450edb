using System.Diagnostics.Metrics;

namespace Scheduler.Jobs.Telemetry;

/// <summary>
/// What a person should look at, as gauges of the meter <c>Scheduler</c>, each tagged with the replica's name and 0 while all is well.
/// Thread-safe.
/// </summary>
internal sealed class AlertMetrics(ReplicaIdentity replica)
{
    private static readonly Meter Meter = new("Scheduler");
    private static readonly Gauge<double> ClockOffsets = Meter.CreateGauge<double>(
        "scheduler.clock.offset",
        "s",
        "How far a replica's wall clock is off at least, by State's clock or the other replicas'."
    );
    private static readonly Gauge<int> ClocksOff = Meter.CreateGauge<int>(
        "scheduler.clock.off",
        "{replica}",
        "1 while a replica fires nothing because its wall clock is off."
    );
    private static readonly Gauge<int> SupersededTriggers = Meter.CreateGauge<int>(
        "scheduler.triggers.superseded",
        "{trigger}",
        "Triggers that a replica skips, because a living one has a newer definition."
    );
    private static readonly Gauge<int> OrphanedRuns = Meter.CreateGauge<int>(
        "scheduler.runs.orphaned",
        "{run}",
        "Runs whose job no living replica has, as a replica's last look showed: of each lock key the first, at most 1,000."
    );

    private KeyValuePair<string, object?> Replica => new("replica", replica.Name);

    /// <summary>The clock was compared.</summary>
    /// <param name="offset">How far it is off at least.</param>
    /// <param name="isOff">Whether the replica fires nothing because of it.</param>
    public void Clock(TimeSpan offset, bool isOff)
    {
        ClockOffsets.Record(offset.TotalSeconds, Replica);
        ClocksOff.Record(isOff ? 1 : 0, Replica);
    }

    /// <summary>How many of this replica's triggers do not count.</summary>
    public void Superseded(int count) => SupersededTriggers.Record(count, Replica);

    /// <summary>How many orphaned runs a look showed.</summary>
    public void Orphaned(int count) => OrphanedRuns.Record(count, Replica);
}
