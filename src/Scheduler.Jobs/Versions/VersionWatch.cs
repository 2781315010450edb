using Microsoft.Extensions.Logging;
using Scheduler.Jobs.Preference;
using Scheduler.Jobs.Telemetry;
using Scheduler.Runs;

namespace Scheduler.Jobs.Versions;

/// <summary>
/// Finds out whether living replicas have other definitions of this one's triggers: for a while after members came or went, else rarely.
/// Thread-safe.
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
    private readonly Lock _gate = new();
    private long _asked;
    private long _questions;
    private long _answered;

    /// <summary>Looks, if it is time to; called after each heartbeat.</summary>
    /// <exception cref="StateUnavailableException">State does not answer.</exception>
    public ValueTask LookAsync(CancellationToken cancellationToken) =>
        Volatile.Read(ref _asked) is var asked and not 0 && order.SinceChange >= AfterChange && time.GetElapsedTime(asked) < Longest
            ? ValueTask.CompletedTask
            : AskAsync(cancellationToken);

    /// <summary>Looks now.</summary>
    /// <exception cref="StateUnavailableException">State does not answer.</exception>
    public async ValueTask AskAsync(CancellationToken cancellationToken)
    {
        var question = Interlocked.Increment(ref _questions);
        var contested = await state.CallAsync((s, token) => s.Schedules.ContestedAsync(token), cancellationToken);
        IReadOnlyList<(ScheduleKey Definition, DateTimeOffset? Until)> changed;
        lock (_gate)
        {
            // An answer that was overtaken says less than the one that is known.
            if (question < _answered)
            {
                return;
            }
            _answered = question;
            Volatile.Write(ref _asked, time.GetTimestamp());
            changed = bounds.Observe(contested);
        }
        foreach (var (definition, until) in changed)
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
