using Microsoft.Extensions.Logging;
using Scheduler.Jobs.Preference;
using Scheduler.Jobs.Telemetry;
using Scheduler.Runs;

namespace Scheduler.Jobs.Versions;

/// <summary>
/// Finds out whether living replicas have other definitions of this one's triggers: for a while after members came or went, else rarely.
/// For one caller at a time.
/// </summary>
internal sealed class VersionWatch(
    StateGuard state,
    ReplicaOrder order,
    ScheduleBounds bounds,
    ReplicaIdentity replica,
    TimeProvider time,
    ILogger<VersionWatch> logger
)
{
    /// <summary>For how long after a change it asks with each heartbeat: what a new member has is in State soon after its first.</summary>
    public static readonly TimeSpan AfterChange = TimeSpan.FromSeconds(15);
    private static readonly TimeSpan Longest = TimeSpan.FromMinutes(5);

    private readonly AlertMetrics _metrics = new(replica);
    private long _asked;

    /// <summary>Looks, if it is time to; called after each heartbeat.</summary>
    /// <exception cref="StateUnavailableException">State does not answer.</exception>
    public async ValueTask LookAsync(CancellationToken cancellationToken)
    {
        if (_asked != 0 && order.SinceChange >= AfterChange && time.GetElapsedTime(_asked) < Longest)
        {
            return;
        }
        var contested = await state.CallAsync((s, token) => s.Schedules.ContestedAsync(token), cancellationToken);
        _asked = time.GetTimestamp();
        foreach (var (definition, until) in bounds.Observe(contested))
        {
            if (until is { } end)
            {
                JobLog.Superseded(logger, definition.Job, definition.Trigger, definition.Fingerprint, end);
            }
            else
            {
                JobLog.CountsAgain(logger, definition.Job, definition.Trigger, definition.Fingerprint);
            }
        }
        _metrics.Superseded(bounds.SupersededCount);
    }
}
