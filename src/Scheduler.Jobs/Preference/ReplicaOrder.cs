using System.Runtime.InteropServices;
using Scheduler.Jobs.Hosting;
using Scheduler.Runs;

namespace Scheduler.Jobs.Preference;

/// <summary>
/// In which order the living replicas that have a job take its occurrences: another one for each occurrence, the same on all replicas
/// that see the same members, and when one leaves, only its own go to others (rendezvous hashing; Thaler and Ravishankar, 1998). Where
/// replicas see different members, several may be the first, which costs round trips and nothing else: the lock decides. Thread-safe.
/// </summary>
/// <param name="replica">This process; it is always one of them.</param>
/// <param name="time">The clock.</param>
internal sealed class ReplicaOrder(ReplicaIdentity replica, TimeProvider time)
{
    // Three heartbeats: a replica counts for so long after its last one, and a list that is older says nothing.
    private static readonly TimeSpan Life = 3 * Heartbeat.Interval;

    private readonly ulong _own = Hash(replica.Id);
    private volatile View? _view;

    /// <summary>How long ago running members came, went or changed their jobs, as far as this replica saw; no time while they are
    /// unknown.</summary>
    public TimeSpan SinceChange => _view is { } view ? time.GetElapsedTime(view.ChangedAt) : TimeSpan.Zero;

    /// <summary>Whether the members are known and none of them, this one left aside, has a job; one that takes no fires now, because it
    /// starts or its clock is off, may run it soon.</summary>
    /// <param name="job">The job.</param>
    public bool NobodyElseHas(string job) =>
        Current is { } view && !view.Others.ContainsKey(job) && !view.Resting.Any(jobs => jobs.Contains(job, StringComparer.Ordinal));

    /// <summary>How many replicas run, this one included; 1 while that is unknown.</summary>
    public int Living => Current is { } view ? view.Members.Count + 1 : 1;

    private View? Current => _view is { } view && time.GetElapsedTime(view.Since) < Life ? view : null;

    /// <summary>Takes the newest list of members.</summary>
    /// <param name="members">The list.</param>
    public void Observe(MemberList members)
    {
        ArgumentNullException.ThrowIfNull(members);
        List<Member> others =
        [
            .. members
                .Items.Where(m => m.Id != replica.Id && m.Age < Life && m.Status == ReplicaStatus.Running)
                .Select(m => new Member(m.Id, m.Jobs)),
        ];
        // Members come and go rarely, and with a thousand jobs each the dictionary is most of what a heartbeat costs.
        var now = time.GetTimestamp();
        var (order, changed) =
            _view is { } before && before.Members.SequenceEqual(others) ? (before.Others, before.ChangedAt) : (OrderOf(others), now);
        IReadOnlyList<string>[] resting =
        [
            .. members.Items.Where(m => m.Id != replica.Id && m.Age < Life && m.Status != ReplicaStatus.Running).Select(m => m.Jobs),
        ];
        _view = new View(others, resting, order, now, changed);
    }

    /// <summary>How many replicas come before this one for an occurrence; 0 while the members are not known.</summary>
    /// <param name="occurrence">The occurrence.</param>
    public int RankOf(Occurrence occurrence)
    {
        if (Current is not { } view || !view.Others.TryGetValue(occurrence.Job, out var others))
        {
            return 0;
        }
        var seed = Hash(occurrence.Job) ^ (Hash(occurrence.Trigger) * 3) ^ (ulong)occurrence.ScheduledAt.UtcTicks;
        var own = Mix(seed ^ _own);
        var before = 0;
        foreach (var other in others)
        {
            // Equal scores of two replicas, once in 2^64: both have the place.
            before += Mix(seed ^ other) > own ? 1 : 0;
        }
        return before;
    }

    private static Dictionary<string, ulong[]> OrderOf(List<Member> others)
    {
        var byJob = new Dictionary<string, List<ulong>>(StringComparer.Ordinal);
        foreach (var member in others)
        {
            var seed = Hash(member.Id);
            foreach (var job in member.Jobs.Distinct(StringComparer.Ordinal))
            {
                (CollectionsMarshal.GetValueRefOrAddDefault(byJob, job, out _) ??= []).Add(seed);
            }
        }
        // Nearly always all have the same jobs: one array then stands for all of them.
        var shared = Array.Empty<ulong>();
        var order = new Dictionary<string, ulong[]>(byJob.Count, StringComparer.Ordinal);
        foreach (var (job, seeds) in byJob)
        {
            shared = shared.AsSpan().SequenceEqual(CollectionsMarshal.AsSpan(seeds)) ? shared : [.. seeds];
            order[job] = shared;
        }
        return order;
    }

    // FNV-1a over UTF-16 units: the same in every process, unlike string.GetHashCode.
    private static ulong Hash(string text)
    {
        var hash = 14695981039346656037UL;
        foreach (var unit in text)
        {
            hash = (hash ^ unit) * 1099511628211UL;
        }
        return Mix(hash);
    }

    // The finalizer of SplitMix64 (Steele, Lea and Flood, 2014): every bit of the input moves half of the output's.
    private static ulong Mix(ulong value)
    {
        value = (value ^ (value >> 30)) * 0xBF58476D1CE4E5B9UL;
        value = (value ^ (value >> 27)) * 0x94D049BB133111EBUL;
        return value ^ (value >> 31);
    }

    // Equal when the list of jobs is the very same one: States give it again while it has not changed.
    private readonly record struct Member(string Id, IReadOnlyList<string> Jobs);

    private sealed record View(
        List<Member> Members,
        IReadOnlyList<string>[] Resting,
        Dictionary<string, ulong[]> Others,
        long Since,
        long ChangedAt
    );
}
