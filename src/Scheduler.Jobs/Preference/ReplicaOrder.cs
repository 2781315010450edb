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

    /// <summary>How far State's clock is ahead of this replica's; zero while that is unknown.</summary>
    public TimeSpan StateIsAhead => _view?.StateIsAhead ?? TimeSpan.Zero;

    /// <summary>Takes the newest list of members.</summary>
    /// <param name="members">The list.</param>
    /// <param name="asked">When it was asked for, by this replica's wall clock.</param>
    public void Observe(MemberList members, DateTimeOffset asked)
    {
        ArgumentNullException.ThrowIfNull(members);
        var others = members.Items.Where(m => m.Id != replica.Id && m.Age < Life && m.Status == ReplicaStatus.Running).ToList();
        var middle = asked + ((time.GetUtcNow() - asked) / 2);
        _view = new View(
            others
                .SelectMany(m => m.Jobs.Distinct(StringComparer.Ordinal).Select(job => (Job: job, Seed: Hash(m.Id))))
                .GroupBy(x => x.Job, x => x.Seed, StringComparer.Ordinal)
                .ToDictionary(g => g.Key, g => g.ToArray(), StringComparer.Ordinal),
            members.Now - middle,
            time.GetTimestamp()
        );
    }

    /// <summary>How many replicas come before this one for an occurrence; 0 while the members are not known.</summary>
    /// <param name="occurrence">The occurrence.</param>
    public int RankOf(Occurrence occurrence)
    {
        if (_view is not { } view || time.GetElapsedTime(view.Since) >= Life || !view.Others.TryGetValue(occurrence.Job, out var others))
        {
            return 0;
        }
        var seed = Hash(occurrence.Job) ^ (Hash(occurrence.Trigger) * 3) ^ (ulong)occurrence.ScheduledAt.UtcTicks;
        var own = Mix(seed ^ _own);
        var before = 0;
        foreach (var other in others)
        {
            var score = Mix(seed ^ other);
            // Equal scores of two replicas, once in 2^64: both come first.
            before += score > own ? 1 : 0;
        }
        return before;
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

    private sealed record View(Dictionary<string, ulong[]> Others, TimeSpan StateIsAhead, long Since);
}
