using Scheduler.Locking;
using Scheduler.Runs;

namespace Scheduler.Jobs.Preference;

/// <summary>
/// How often this replica looks, and how soon after the others, so that the group as a whole asks about as much whatever its size:
/// every replica looks the more rarely the more there are, at a time of its own. Thread-safe.
/// </summary>
/// <param name="order">Knows how many live.</param>
/// <param name="jobs">The jobs, for their leases.</param>
/// <param name="leases">The lease of jobs that name none.</param>
/// <param name="isHostLocal">Whether a dead process's leases are free at once, which nothing tells ahead; else expiry does.</param>
internal sealed class GroupPace(ReplicaOrder order, JobCatalog jobs, LeaseOptions leases, bool isHostLocal)
{
    /// <summary>How long after a lease would have ended its key is asked for.</summary>
    public static readonly TimeSpan AfterExpiry = TimeSpan.FromMilliseconds(20);

    private static readonly TimeSpan Shortest = TimeSpan.FromSeconds(1);
    private static readonly TimeSpan Longest = TimeSpan.FromSeconds(5);
    private static readonly TimeSpan PerMember = TimeSpan.FromMilliseconds(60);
    private static readonly TimeSpan ShortestOnHost = TimeSpan.FromMilliseconds(200);
    private static readonly TimeSpan LongestOnHost = TimeSpan.FromSeconds(1);
    private static readonly TimeSpan PerMemberOnHost = TimeSpan.FromMilliseconds(20);
    private static readonly TimeSpan ShortestSettling = TimeSpan.FromSeconds(1);
    private static readonly TimeSpan LongestSettling = TimeSpan.FromSeconds(20);
    private static readonly TimeSpan SettlingPerMember = TimeSpan.FromMilliseconds(300);
    private static readonly TimeSpan FarStep = TimeSpan.FromMilliseconds(5);

    // Replicas that started together, or that the same release woke, must not go on looking in step.
    private const double LargestJitter = 0.25;

    /// <summary>The longest time between two looks at the open runs.</summary>
    /// <remarks>
    /// At most half of the shortest lease, so that every replica alone sees a run twice before its lease can end: the second look asks
    /// for the end of the lease, and nothing depends on when the others look. On one host there is no such end, and a dead holder's run
    /// must be found within half a second: up to ten replicas each look often enough for that alone, more of them together.
    /// </remarks>
    public TimeSpan LookInterval =>
        isHostLocal
            ? Clamp(PerMemberOnHost * order.Living, ShortestOnHost, LongestOnHost)
            : Clamp(PerMember * order.Living, Shortest, Min(Longest, ShortestLease / 2));

    /// <summary>The time between two looks at what was due: what nobody fired is found by whoever looks next.</summary>
    public TimeSpan SettleInterval => Clamp(SettlingPerMember * order.Living, ShortestSettling, LongestSettling);

    /// <summary>How long to wait for the next look; another time at each call.</summary>
    public TimeSpan NextLook() => LookInterval * (1 - (LargestJitter * Random.Shared.NextDouble()));

    /// <summary>
    /// Whether this replica is one of the first for a run. They look again soon at what they see for the first time, and at once when a
    /// key comes free; the others at their next look. On one host all are.
    /// </summary>
    /// <param name="occurrence">What the run stands for.</param>
    public bool IsNear(Occurrence occurrence) => isHostLocal || order.RankOf(occurrence) <= StandBy.LastPlace;

    /// <summary>How long after the end of a lease this replica asks for its key: the first ones at once, the others when these had the
    /// time for it, one after another.</summary>
    /// <param name="occurrence">What the run stands for.</param>
    public TimeSpan AfterEnd(Occurrence occurrence) =>
        IsNear(occurrence) ? AfterExpiry : AfterExpiry + (2 * StandBy.Step) + (FarStep * Math.Min(order.RankOf(occurrence), 50));

    private TimeSpan ShortestLease =>
        jobs.All.Where(j => j.IsSingleInstance).Select(j => j.Lease ?? leases.LeaseDuration).Append(leases.LeaseDuration).Min();

    // The shortest one counts where a lease is so short that both cannot be kept.
    private static TimeSpan Clamp(TimeSpan value, TimeSpan least, TimeSpan most) =>
        value < least || most < least ? least : Min(value, most);

    private static TimeSpan Min(TimeSpan one, TimeSpan other) => one < other ? one : other;
}
