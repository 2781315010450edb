using System.Runtime.InteropServices;
using Scheduler.Locking;

namespace Scheduler.Redis.Redlock;

// What the answers so far come to.
internal sealed partial class Acquisition
{
    private readonly Vote[] _votes;

    private enum Is : byte
    {
        /// <summary>The node does not count, or nothing reached it.</summary>
        Absent = 0,
        Mine,
        Others,
        Free,

        /// <summary>The command may have been done.</summary>
        Unknown,
    }

    private AcquireResult? Outcome()
    {
        lock (Gate)
        {
            return LockedOutcome();
        }
    }

    private AcquireResult? LockedOutcome()
    {
        var tally = Tally();
        if (_raising)
        {
            return tally.Final >= Majority ? new AcquireResult.Granted(_final)
                : tally.Mine < Majority ? LockedUnavailable()
                : null;
        }
        if (tally.Mine >= Majority)
        {
            return OnMajority(tally.Pending > 0);
        }
        if (LeaderVotes(out var leader) is var votes && leader is not null)
        {
            _lastSeen = leader;
            if (votes >= Majority && (tally.Mine == 0 || _givenWay || _round >= LooksAtMajority))
            {
                return Held(leader);
            }
        }
        return tally.Possible < Majority ? LockedUnavailable()
            : _givenWay && tally.Free >= Majority ? Held(_lastSeen!)
            : null;
    }

    private AcquireResult.Granted? OnMajority(bool moreToCome)
    {
        if (AgreedNumber(out var largest) is > 0 and var agreed)
        {
            _final = agreed;
            return new AcquireResult.Granted(agreed);
        }
        if (moreToCome && !_awaitsVotes)
        {
            // They may agree with one of these, which saves the second round trip; and others must not see a majority on a number that is
            // being replaced.
            _awaitsVotes = true;
            return null;
        }
        (_raising, _final) = (true, largest);
        return null;
    }

    /// <summary>The number with which a majority voted, or 0.</summary>
    private long AgreedNumber(out long largest)
    {
        largest = 0L;
        foreach (var vote in _votes)
        {
            if (vote.Is != Is.Mine)
            {
                continue;
            }
            largest = Math.Max(largest, vote.Number);
            var same = 0;
            foreach (var other in _votes)
            {
                same += other.Is == Is.Mine && other.Number == vote.Number ? 1 : 0;
            }
            if (same >= Majority)
            {
                return vote.Number;
            }
        }
        return 0;
    }

    /// <summary>The bounded rounds are over without a decision: whoever is ahead has the key, as far as can be seen.</summary>
    private AcquireResult.Held? Refused()
    {
        lock (Gate)
        {
            LeaderVotes(out var leader);
            return (leader ?? _lastSeen) is { } seen ? Held(seen) : null;
        }
    }

    private AcquireResult.Held Held(string value)
    {
        var held = LockValue.Parse(value);
        var left = 0L;
        foreach (var vote in _votes)
        {
            if (vote.Is == Is.Others && Mark.Of(vote.Value!).SequenceEqual(Mark.Of(value)))
            {
                left = Math.Max(left, vote.Left);
            }
        }
        return new AcquireResult.Held(held.Holder, held.Purpose, TimeSpan.FromMilliseconds(left));
    }

    private AcquireResult.Unavailable Unavailable()
    {
        lock (Gate)
        {
            return LockedUnavailable();
        }
    }

    private AcquireResult.Unavailable LockedUnavailable()
    {
        var unknown = false;
        Exception? cause = null;
        for (var i = 0; i < _votes.Length; i++)
        {
            unknown |= _votes[i].IsPending || _votes[i].Is is Is.Mine or Is.Unknown;
            cause ??= _votes[i].Error is { } error ? Nodes[i].Connection.Translate(error) : null;
        }
        return new AcquireResult.Unavailable(Quorum.Missing(Nodes, "voted for the key"), unknown, cause);
    }

    /// <summary>The value of another that stands on the most nodes, and on how many.</summary>
    private int LeaderVotes(out string? leader)
    {
        var most = 0;
        leader = null;
        foreach (var vote in _votes)
        {
            if (vote.Is != Is.Others)
            {
                continue;
            }
            var same = 0;
            foreach (var other in _votes)
            {
                same += other.Is == Is.Others && Mark.Of(other.Value!).SequenceEqual(Mark.Of(vote.Value!)) ? 1 : 0;
            }
            if (same > most || (same == most && Mark.IsBefore(Mark.OwnerOf(vote.Value!), Mark.OwnerOf(leader!))))
            {
                (most, leader) = (same, vote.Value);
            }
        }
        return most;
    }

    private Tallied Tally()
    {
        var tally = default(Tallied);
        foreach (var vote in _votes)
        {
            tally.Pending += vote.IsPending ? 1 : 0;
            tally.Mine += vote.Is == Is.Mine ? 1 : 0;
            tally.Final += vote.Is == Is.Mine && vote.Number == _final ? 1 : 0;
            tally.Others += vote.Is == Is.Others ? 1 : 0;
            tally.Free += vote.Is == Is.Free ? 1 : 0;
            tally.Possible += vote.IsPending || vote.Is is Is.Mine or Is.Others or Is.Free ? 1 : 0;
        }
        return tally;
    }

    [StructLayout(LayoutKind.Auto)]
    private struct Tallied
    {
        public int Pending;
        public int Mine;
        public int Final;
        public int Others;
        public int Free;
        public int Possible;
    }

    [StructLayout(LayoutKind.Auto)]
    private struct Vote
    {
        public Is Is;
        public bool IsPending;
        public bool IsRaising;
        public int Round;
        public long Number;
        public long Left;
        public string? Value;
        public CheckedNode? Checked;
        public Exception? Error;
    }
}
