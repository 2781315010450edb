using System.Diagnostics.Metrics;
using Scheduler.Leases;
using Scheduler.Locking;

namespace Scheduler.Telemetry;

/// <summary>
/// The counters of the lease core, in the meter <c>Scheduler</c>, each tagged with the store's name. They never throw: whoever listens
/// is called at once, on the watchdog's thread and in finalizers too, where an exception would lose leases or end the process.
/// </summary>
internal sealed class LeaseMetrics(string store)
{
    private static readonly Meter Meter = new("Scheduler");
    private static readonly Counter<long> Attempts = Meter.CreateCounter<long>(
        "scheduler.lock.attempts",
        "{attempt}",
        "Answers to asking for a key."
    );
    private static readonly Counter<long> LostLeases = Meter.CreateCounter<long>(
        "scheduler.lease.lost",
        "{lease}",
        "Leases lost, by reason."
    );
    private static readonly Counter<long> Renewals = Meter.CreateCounter<long>(
        "scheduler.lease.renewals",
        "{renewal}",
        "Renewals, by outcome."
    );
    private static readonly Counter<long> AbandonedHandles = Meter.CreateCounter<long>(
        "scheduler.lease.abandoned",
        "{lease}",
        "Leases whose handle was collected before it was released."
    );
    private static readonly Counter<long> ClockJumps = Meter.CreateCounter<long>(
        "scheduler.store.clock_jumps",
        "{jump}",
        "Jumps of the store's clock."
    );

    public void Granted() => Add(Attempts, 1, new("outcome", "granted"));

    public void Held() => Add(Attempts, 1, new("outcome", "held"));

    public void Unavailable() => Add(Attempts, 1, new("outcome", "unavailable"));

    public void Lost(LossReason reason) => Add(LostLeases, 1, new("reason", reason.ToString()));

    public void Renewed(RenewalOutcome outcome, int count)
    {
        if (count > 0)
        {
            Add(Renewals, count, new("outcome", outcome.ToString()));
        }
    }

    public void Abandoned() => Add(AbandonedHandles, 1);

    public void ClockJumped() => Add(ClockJumps, 1);

    private void Add(Counter<long> counter, int count, KeyValuePair<string, object?>? tag = null)
    {
        try
        {
            if (tag is { } second)
            {
                counter.Add(count, Store, second);
            }
            else
            {
                counter.Add(count, Store);
            }
        }
#pragma warning disable CA1031, RCS1075 // A listener's defect; there is nobody to tell.
        catch (Exception)
#pragma warning restore CA1031, RCS1075
        {
            // Counting is not worth a lease.
        }
    }

    private KeyValuePair<string, object?> Store => new("store", store);
}
