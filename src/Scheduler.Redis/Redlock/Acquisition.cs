using Scheduler.Locking;
using StackExchange.Redis;

namespace Scheduler.Redis.Redlock;

/// <summary>
/// One attempt to take a key on a majority of nodes (S. Sanfilippo, "Distributed Locks with Redis"; the numbers and the end of split
/// votes are ours). Normally one round trip; nothing is waited for but answers.
/// </summary>
/// <remarks>
/// Split votes: when nobody has a majority, whoever sees somebody with more votes, or with as many and before them in an order that all
/// share, gives their own votes back and only looks; the others ask again for what they lack. Whoever looks and finds a majority of the
/// nodes free asks again. An attempt ends as refused only when it has no vote left and, in a look that began after that, sees a majority
/// of another. So somebody gets the key: of the attempts that end, the last one saw votes of somebody who had not ended. Rounds follow each
/// other without a pause, for a part of the time limit.
/// </remarks>
internal sealed partial class Acquisition : NodeCall
{
    /// <summary>The part of the time limit for which split votes are argued about.</summary>
    private const int RoundsPartOfLimit = 4;

    /// <summary>
    /// The part of the time limit for which votes that are on their way are awaited: nobody gives way, and no number is raised, while
    /// these could still decide.
    /// </summary>
    private const int LateVotesPartOfLimit = 20;

    private readonly RedlockKeys _names;
    private readonly Bounded _bounded;
    private readonly LockKey _key;
    private readonly RedisKey[] _keys;
    private readonly string _owner;
    private readonly RedisValue[] _request;
    private readonly long _started;
    private Phase _phase;
    private int _round;
    private int _lookedFrom;
    private int _answersNeeded;
    private bool _anyAnswerCounts;
    private long _final;

    public Acquisition(RedlockNode[] nodes, RedlockKeys names, Bounded bounded, AcquireRequest request, long proposal)
        : base(nodes)
    {
        _names = names;
        _bounded = bounded;
        _key = request.Key;
        _keys = names.ForAcquire(request.Key.Value);
        _owner = request.Owner.ToString();
        _request = [_owner, request.Purpose, (long)request.Duration.TotalMilliseconds, proposal, RedisValue.Null];
        _votes = new Vote[nodes.Length];
        _started = bounded.Time.GetTimestamp();
    }

    private enum Phase : byte
    {
        /// <summary>Votes are asked for.</summary>
        Asking = 0,

        /// <summary>Votes are given back, and the answers to that awaited.</summary>
        GivingWay,

        /// <summary>Without a vote: who has the key?</summary>
        Looking,

        /// <summary>There is a majority without one number; votes that are on their way are awaited.</summary>
        Settling,

        /// <summary>The votes of the majority get one number.</summary>
        Raising,
    }

    private bool HasMajority => _phase is Phase.Settling or Phase.Raising;

    /// <summary>Asks until it is decided.</summary>
    public async ValueTask<AcquireResult> RunAsync(CancellationToken cancellationToken)
    {
        var granted = false;
        try
        {
            if (!await AskAsync(static call => ((Acquisition)call).AskAll(), _bounded, _bounded.Limit, null, cancellationToken))
            {
                return Unavailable();
            }
            while (true)
            {
                if (Outcome() is { } outcome)
                {
                    granted = outcome is AcquireResult.Granted;
                    return outcome;
                }
                var limit = HasMajority ? _bounded.Limit : _bounded.Limit / RoundsPartOfLimit;
                var left = limit - _bounded.Time.GetElapsedTime(_started);
                if (left <= TimeSpan.Zero)
                {
                    return HasMajority ? Unavailable() : Undecided();
                }
                TimeSpan? patience = _phase == Phase.Settling ? _bounded.Limit / LateVotesPartOfLimit : null;
                await AskAsync(static call => ((Acquisition)call).AskAgain(), _bounded, left, patience, cancellationToken);
            }
        }
        finally
        {
            if (!granted)
            {
                // Also when it was cancelled: an attempt that was not granted leaves nothing behind.
                lock (Gate)
                {
                    GiveBack();
                }
            }
        }
    }

    protected override bool IsDecided()
    {
        var tally = Tally();
        return _phase switch
        {
            Phase.Settling => tally.Pending == 0 || IsImpatient || AgreedNumber(out _) > 0,
            Phase.Raising => tally.Final >= Majority || tally.Mine < Majority,
            Phase.GivingWay => tally.Returning == 0,
            _ => tally.Mine >= Majority || tally.Possible < Majority || _answersNeeded <= 0 || IsRefused(tally, out _),
        };
    }

    protected override void Take(int node, Step step, RedisResult? answer, Exception? error)
    {
        ref var vote = ref _votes[node];
        switch (step)
        {
            case Step.Raise:
                vote.Is = answer is not null && (long)answer == 1 ? Is.Mine : Is.Unknown;
                vote.Number = vote.Is == Is.Mine ? _final : 0;
                break;
            case Step.GiveBack:
                vote.IsReturning = false;
                vote.Is =
                    answer is null ? Is.Unknown
                    : vote.Is == Is.Mine ? Is.Free
                    : vote.Is;
                break;
            default:
                vote.IsPending = false;
                vote.SeenIn = vote.AskedIn;
                _answersNeeded -= _anyAnswerCounts || vote.AskedIn == _round ? 1 : 0;
                TakeVote(node, ref vote, answer, error);
                break;
        }
    }

    private void TakeVote(int node, ref Vote vote, RedisResult? answer, Exception? error)
    {
        if (answer is null)
        {
            if (error is RedisServerException && vote.Checked is { } check)
            {
                // Whatever it says (an unknown script, a missing marker, a replica, no memory): look again before asking again.
                Nodes[node].Exclude(check, error);
            }
            vote.Error = error;
            vote.Is = error is null || RedisConnection.IsCertainlyNotDone(error) ? Is.Absent : Is.Unknown;
            return;
        }
        var reply = (RedisResult[])answer!;
        switch (reply.Length)
        {
            case 0:
                vote.Is = Is.Free;
                break;
            case 1:
                vote.Is = Is.Mine;
                vote.Number = (long)reply[0];
                if (_final != 0 && vote.Number != _final)
                {
                    // It came after the number was agreed on; revocations go by the number.
                    Nodes[node].Post(RedlockScripts.Raise, RaiseKeys(), [_owner, _final]);
                }
                break;
            default:
                vote.Is = Is.Others;
                vote.Value = (string)reply[0]!;
                vote.Left = (long)reply[1];
                break;
        }
    }

    private void AskAll()
    {
        for (var i = 0; i < Nodes.Length; i++)
        {
            Ask(i);
        }
        _answersNeeded = Math.Min(_votes.Count(v => v.IsPending), Majority);
    }

    /// <summary>Asks a node for its vote.</summary>
    /// <returns>Whether an answer comes, or came.</returns>
    private bool Ask(int node)
    {
        ref var vote = ref _votes[node];
        if (Nodes[node].Usable is not { } usable)
        {
            Nodes[node].RecheckIfDue();
            vote.Is = Is.Absent;
            return false;
        }
        (vote.Checked, vote.IsPending, vote.AskedIn) = (usable, true, _round);
        RedisValue[] values = [.. _request];
        values[^1] = usable.RunId;
        Send(node, usable.Acquire, _keys, values, isHarmless: false);
        return true;
    }

    private void AskAgain()
    {
        if (_phase == Phase.Settling)
        {
            return;
        }
        if (_phase == Phase.Raising)
        {
            Raise();
            return;
        }
        _round++;
        var tally = Tally();
        switch (_phase)
        {
            case Phase.Asking when GivesWay(tally):
                _phase = Phase.GivingWay;
                GiveBack();
                if (tally.Mine > 0)
                {
                    return;
                }
                goto case Phase.GivingWay;
            case Phase.GivingWay:
                (_phase, _lookedFrom) = (Phase.Looking, _round);
                break;
            case Phase.Looking when tally.Free >= Majority:
                // Whoever was ahead ended without the key.
                _phase = Phase.Asking;
                break;
        }
        AskWhatIsMissing();
    }

    private void AskWhatIsMissing()
    {
        var asked = 0;
        _anyAnswerCounts = false;
        // More than can come before the sum is known.
        _answersNeeded = int.MaxValue;
        for (var i = 0; i < Nodes.Length; i++)
        {
            ref var vote = ref _votes[i];
            if (vote.IsPending || vote.IsReturning || vote.Is is not (Is.Others or Is.Free))
            {
                continue;
            }
            if (_phase == Phase.Looking)
            {
                (vote.IsPending, vote.AskedIn) = (true, _round);
                Send(i, RedisScript.Read, [_keys[0]], []);
                asked++;
            }
            else
            {
                asked += Ask(i) ? 1 : 0;
            }
        }
        _answersNeeded += (asked > 0 ? Math.Max(1, asked - (Nodes.Length - Majority)) : 1) - int.MaxValue;
        _anyAnswerCounts = asked == 0;
    }

    private void Raise()
    {
        for (var i = 0; i < Nodes.Length; i++)
        {
            ref var vote = ref _votes[i];
            if (vote.IsMine && vote.Number != _final)
            {
                Send(i, RedlockScripts.Raise, RaiseKeys(), [_owner, _final], step: Step.Raise);
            }
        }
    }

    /// <summary>Behind the requests, over the same connections, so that it also meets votes that are on their way.</summary>
    private void GiveBack()
    {
        for (var i = 0; i < Nodes.Length; i++)
        {
            ref var vote = ref _votes[i];
            if (!vote.IsReturning && (vote.IsPending || vote.Is is Is.Mine or Is.Unknown))
            {
                vote.IsReturning = true;
                Send(i, RedisScript.Release, [_keys[0]], ReleaseCall.Values(_names, _key, _owner), step: Step.GiveBack);
            }
        }
    }

    private RedisKey[] RaiseKeys() => [_keys[0], _keys[1]];
}
