using Scheduler.Runs;

namespace Scheduler.Jobs.Reconciliation;

/// <summary>
/// Knows since when a run has been seen running. Most runs that a look finds end in the next moment; only what stays is worth the
/// question whether somebody still has its lock. By this replica's clock alone. Used by the reconciler's loop alone.
/// </summary>
internal sealed class RunningSightings(TimeProvider time)
{
    private static readonly TimeSpan LeastAge = TimeSpan.FromMilliseconds(150);

    private Dictionary<string, long> _since = new(StringComparer.Ordinal);

    /// <summary>Takes what is open now.</summary>
    /// <param name="open">The open runs.</param>
    /// <param name="isNear">Which of them are worth a look of their own, for which nothing else waits.</param>
    /// <returns>When the youngest of these is old enough; the longest time when all are.</returns>
    public TimeSpan Look(IReadOnlyList<RunRecord> open, Func<RunRecord, bool> isNear)
    {
        var now = time.GetTimestamp();
        var since = new Dictionary<string, long>(StringComparer.Ordinal);
        var soonest = TimeSpan.MaxValue;
        foreach (var run in open)
        {
            if (run.State == RunState.Running)
            {
                since[run.Id] = _since.GetValueOrDefault(run.Id, now);
                var left = LeastAge - time.GetElapsedTime(since[run.Id], now);
                soonest = left > TimeSpan.Zero && left < soonest && isNear(run) ? left : soonest;
            }
        }
        _since = since;
        return soonest;
    }

    /// <summary>Whether a run of the last look has been running for a while.</summary>
    public bool IsOld(string runId) => _since.TryGetValue(runId, out var since) && time.GetElapsedTime(since) >= LeastAge;
}
