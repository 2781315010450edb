using Microsoft.Extensions.Logging;
using Scheduler.Jobs.Telemetry;
using Scheduler.Runs;

namespace Scheduler.Jobs.Hosting;

/// <summary>Says in the log which replicas come, leave, and vanish without a word. For one caller at a time.</summary>
/// <param name="replica">This process, which is not reported.</param>
/// <param name="interval">The time between two heartbeats.</param>
/// <param name="time">The clock.</param>
/// <param name="logger">Where it is said.</param>
internal sealed class MemberWatch(ReplicaIdentity replica, TimeSpan interval, TimeProvider time, ILogger logger)
{
    /// <summary>How far back the list of members is asked for; one that is older is of no interest any more.</summary>
    public static readonly TimeSpan Horizon = TimeSpan.FromHours(1);

    private readonly Dictionary<string, (string Name, bool IsGone)> _known = new(StringComparer.Ordinal);
    private readonly TimeSpan _limit = 3 * interval;
    private long? _last;
    private long _blindSince;
    private bool _blind;

    /// <summary>Compares the list with the one before.</summary>
    /// <param name="members">All members whose heartbeat is younger than <see cref="Horizon"/>.</param>
    public void Observe(IReadOnlyList<MemberRecord> members)
    {
        var mayJudge = MayJudge();
        foreach (var member in members.Where(m => m.Id != replica.Id))
        {
            var isLate = member.Age >= _limit;
            if (!_known.TryGetValue(member.Id, out var before))
            {
                if (!isLate)
                {
                    JobLog.MemberSeen(logger, member.Name, member.Id);
                    _known[member.Id] = (member.Name, false);
                }
            }
            else if (isLate && !before.IsGone && mayJudge)
            {
                JobLog.MemberGone(logger, member.Name, member.Id, member.Age.TotalSeconds);
                _known[member.Id] = (member.Name, true);
            }
            else if (!isLate && before.IsGone)
            {
                JobLog.MemberBack(logger, member.Name, member.Id);
                _known[member.Id] = (member.Name, false);
            }
        }
        var listed = members.Select(m => m.Id).ToHashSet(StringComparer.Ordinal);
        foreach (var (id, (name, isGone)) in _known.Where(k => !listed.Contains(k.Key)).ToList())
        {
            _known.Remove(id);
            if (!isGone)
            {
                JobLog.MemberLeft(logger, name, id);
            }
        }
    }

    // After an outage of State or a sleep of this process all heartbeats are old; the others get the time to write theirs again.
    private bool MayJudge()
    {
        var now = time.GetTimestamp();
        if (_last is { } last && time.GetElapsedTime(last, now) > 2 * interval)
        {
            (_blind, _blindSince) = (true, now);
        }
        _last = now;
        _blind = _blind && time.GetElapsedTime(_blindSince, now) < _limit;
        return !_blind;
    }
}
