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
        if (_phase == Phase.Raising)
        {
            return tally.Final >= Majority ? new AcquireResult.Granted(_final)
                : tally.Mine < Majority ? LockedUnavailable()
                : null;
        }
        return tally.Mine >= Majority ? OnMajority(tally.Pending > 0)
            : IsRefused(tally, out var winner) ? Held(winner!)
            : tally.Possible < Majority ? LockedUnavailable()
            : null;
    }

    /// <summary>Whether nothing of this attempt is left and, since then, a majority was seen with another.</summary>
    private bool IsRefused(Tallied tally, out string? winner) =>
        LeaderVotes(_lookedFrom, out winner) >= Majority && tally.Mine + tally.Returning == 0;

    private AcquireResult.Granted? OnMajority(bool moreToCome)
    {
        if (AgreedNumber(out var largest) is > 0 and var agreed)
        {
            _final = agreed;
            return new AcquireResult.Granted(agreed);
        }
        if (moreToCome && _phase != Phase.Settling)
        {
            // They may agree with one of these, which saves the second round trip; and others must not see a majority on a number that is
            // being replaced.
            _phase = Phase.Settling;
            return null;
        }
        (_phase, _final) = (Phase.Raising, largest);
        return null;
    }

    /// <summary>The number with which a majority voted, or 0.</summary>
    private long AgreedNumber(out long largest)
    {
        largest = 0L;
        foreach (var vote in _votes)
        {
            if (!vote.IsMine)
            {
                continue;
            }
            largest = Math.Max(largest, vote.Number);
            var same = 0;
            foreach (var other in _votes)
            {
                same += other.IsMine && other.Number == vote.Number ? 1 : 0;
            }
            if (same >= Majority)
            {
                return vote.Number;
            }
        }
        return 0;
    }

    /// <summary>The time for rounds is over without a decision: whoever is ahead has the key, as far as can be seen.</summary>
    private AcquireResult Undecided()
    {
        lock (Gate)
        {
            LeaderVotes(0, out var leader);
            return leader is null ? LockedUnavailable() : Held(leader);
        }
    }

    private bool GivesWay(Tallied tally)
    {
        if (tally.Mine + tally.Pending >= Majority && _bounded.Time.GetElapsedTime(_started) < _bounded.Limit / LateVotesPartOfLimit)
        {
            return false;
        }
        var votes = LeaderVotes(0, out var leader);
        return leader is not null && (votes > tally.Mine || (votes == tally.Mine && Mark.IsBefore(Mark.OwnerOf(leader), _owner)));
    }

    private AcquireResult.Held Held(string value)
    {
        var held = LockValue.Parse(value);
        var left = 0L;
        foreach (var vote in _votes)
        {
            if (vote.Is == Is.Others && Mark.OwnerOf(vote.Value!).SequenceEqual(Mark.OwnerOf(value)))
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

    /// <summary>
    /// A value of the other that was seen on the most nodes, and on how many. Votes for one owner count together whatever their numbers
    /// are: counted apart, several could each believe to be ahead, and nobody would give way.
    /// </summary>
    /// <param name="from">Looks of earlier rounds do not count.</param>
    /// <param name="leader">The value, or null.</param>
    private int LeaderVotes(int from, out string? leader)
    {
        var most = 0;
        leader = null;
        foreach (var vote in _votes)
        {
            if (vote.Is != Is.Others || vote.SeenIn < from)
            {
                continue;
            }
            var same = 0;
            foreach (var other in _votes)
            {
                same +=
                    other.Is == Is.Others && other.SeenIn >= from && Mark.OwnerOf(other.Value!).SequenceEqual(Mark.OwnerOf(vote.Value!))
                        ? 1
                        : 0;
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
            tally.Mine += vote.IsMine ? 1 : 0;
            tally.Returning += vote.Is == Is.Mine && vote.IsReturning ? 1 : 0;
            tally.Final += vote.IsMine && vote.Number == _final ? 1 : 0;
            tally.Free += vote.Is == Is.Free && vote.SeenIn >= _lookedFrom ? 1 : 0;
            tally.Possible += vote.IsPending || vote.Is is Is.Mine or Is.Others or Is.Free ? 1 : 0;
        }
        return tally;
    }

    [StructLayout(LayoutKind.Auto)]
    private struct Tallied
    {
        public int Pending;
        public int Mine;
        public int Returning;
        public int Final;
        public int Free;
        public int Possible;
    }

    [StructLayout(LayoutKind.Auto)]
    private struct Vote
    {
        public Is Is;
        public bool IsPending;

        /// <summary>A release is on its way.</summary>
        public bool IsReturning;

        /// <summary>The round in which it was asked last.</summary>
        public int AskedIn;

        /// <summary>The round in which that was asked of which the answer is known.</summary>
        public int SeenIn;
        public long Number;
        public long Left;
        public string? Value;
        public CheckedNode? Checked;
        public Exception? Error;

        public readonly bool IsMine => Is == Is.Mine && !IsReturning;
    }
}
