using Scheduler.Locking;
using StackExchange.Redis;

namespace Scheduler.Redis.Redlock;

/// <summary>
/// One attempt to take a key on a majority of nodes (S. Sanfilippo, "Distributed Locks with Redis"; the numbers and the end of split
/// votes are ours). Normally one round trip; nothing is waited for but answers.
/// </summary>
/// <remarks>
/// Split votes: when nobody has a majority, whoever sees somebody with more votes, or with as many and before them in an order that all
/// share, gives their own votes back and only looks on; the others ask again for what they lack. Somebody is always the first, so somebody
/// gets the key, unless what they saw of the nodes was of different moments: then nobody does, and nothing is left on the nodes. Rounds
/// follow each other without a pause, for a part of the time limit. An attempt that gave votes back is never granted.
/// </remarks>
internal sealed partial class Acquisition : NodeCall
{
    /// <summary>
    /// The part of the time limit for which a contender goes on asking: another who gives way may be on a busy machine. Whoever looks on
    /// does so for twice as long, to see who won.
    /// </summary>
    private const int RoundsPartOfLimit = 4;

    /// <summary>How often somebody with votes looks again although another has a majority: it may be giving them back right now.</summary>
    private const int LooksAtMajority = 3;

    /// <summary>For so many rounds nobody gives way while votes that are on their way could still decide.</summary>
    private const int RoundsForLateVotes = 8;

    /// <summary>The part of the time limit for which votes that are on their way are awaited before numbers are raised.</summary>
    private const int LateVotesPartOfLimit = 20;

    private readonly RedlockKeys _names;
    private readonly Bounded _bounded;
    private readonly LockKey _key;
    private readonly RedisKey[] _keys;
    private readonly string _owner;
    private readonly RedisValue[] _request;
    private int _round;
    private int _answersNeeded;
    private bool _anyAnswerCounts;
    private bool _givenWay;
    private bool _awaitsVotes;
    private bool _raising;
    private long _final;
    private string? _lastSeen;

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
    }

    /// <summary>Asks until it is decided.</summary>
    public async ValueTask<AcquireResult> RunAsync(CancellationToken cancellationToken)
    {
        var granted = false;
        try
        {
            var started = _bounded.Time.GetTimestamp();
            var answered = await AskAsync(static call => ((Acquisition)call).AskAll(), _bounded, _bounded.Limit, null, cancellationToken);
            while (answered)
            {
                if (Outcome() is { } outcome)
                {
                    granted = outcome is AcquireResult.Granted;
                    return outcome;
                }
                var elapsed = _bounded.Time.GetElapsedTime(started);
                if (elapsed > _bounded.Limit / RoundsPartOfLimit * (_givenWay ? 2 : 1) && Refused() is { } refused)
                {
                    return refused;
                }
                _round++;
                var left = _bounded.Limit - elapsed;
                answered =
                    left > TimeSpan.Zero
                    && await AskAsync(static call => ((Acquisition)call).AskAgain(), _bounded, left, LateVotes, cancellationToken);
            }
            return Unavailable();
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

    private TimeSpan? LateVotes => _awaitsVotes && !_raising ? _bounded.Limit / LateVotesPartOfLimit : null;

    protected override bool IsDecided()
    {
        var tally = Tally();
        if (_awaitsVotes && !_raising)
        {
            return tally.Pending == 0 || IsImpatient || AgreedNumber(out _) > 0;
        }
        return _raising
            ? tally.Final >= Majority || tally.Mine < Majority
            : tally.Mine >= Majority
                || tally.Possible < Majority
                || _answersNeeded <= 0
                || (tally.Others >= Majority && LeaderVotes(out _) >= Majority);
    }

    protected override void Take(int node, RedisResult? answer, Exception? error)
    {
        ref var vote = ref _votes[node];
        if (vote.IsRaising)
        {
            vote.IsRaising = false;
            vote.Is = answer is not null && (long)answer == 1 ? Is.Mine : Is.Unknown;
            vote.Number = vote.Is == Is.Mine ? _final : 0;
            return;
        }
        vote.IsPending = false;
        if (_anyAnswerCounts || vote.Round == _round)
        {
            _answersNeeded--;
        }
        if (answer is not null)
        {
            TakeVote(node, ref vote, (RedisResult[])answer!);
            return;
        }
        if (error is RedisServerException && vote.Checked is { } check)
        {
            // Whatever it says (an unknown script, a missing marker, a replica, no memory): look again before asking again.
            Nodes[node].Exclude(check, error);
        }
        vote.Error = error;
        vote.Is = error is null || RedisConnection.IsCertainlyNotDone(error) ? Is.Absent : Is.Unknown;
    }

    private void TakeVote(int node, ref Vote vote, RedisResult[] reply)
    {
        switch (reply.Length)
        {
            case 0:
                vote.Is = Is.Free;
                break;
            case 1 when _givenWay:
                // Its release follows behind the request.
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

    private void Ask(int node)
    {
        if (Nodes[node].Usable is not { } usable)
        {
            Nodes[node].RecheckIfDue();
            return;
        }
        ref var vote = ref _votes[node];
        (vote.Checked, vote.IsPending, vote.Round) = (usable, true, _round);
        RedisValue[] values = [.. _request];
        values[^1] = usable.RunId;
        Send(node, usable.Acquire, _keys, values, isHarmless: false);
    }

    private void AskAgain()
    {
        if (_raising)
        {
            Raise();
            return;
        }
        if (_awaitsVotes)
        {
            return;
        }
        if (!_givenWay && GivesWay())
        {
            GiveBack();
            _givenWay = true;
        }
        var asked = 0;
        _anyAnswerCounts = false;
        _answersNeeded = int.MaxValue;
        for (var i = 0; i < Nodes.Length; i++)
        {
            ref var vote = ref _votes[i];
            if (vote.IsPending || vote.Is is not (Is.Others or Is.Free))
            {
                continue;
            }
            asked++;
            if (_givenWay)
            {
                (vote.IsPending, vote.Round) = (true, _round);
                Send(i, RedisScript.Read, [_keys[0]], []);
            }
            else
            {
                Ask(i);
            }
        }
        _answersNeeded += (asked > 0 ? Math.Max(1, asked - (Nodes.Length - Majority)) : 1) - int.MaxValue;
        _anyAnswerCounts = asked == 0;
    }

    private bool GivesWay()
    {
        var tally = Tally();
        if (tally.Mine + tally.Pending >= Majority && _round < RoundsForLateVotes)
        {
            return false;
        }
        var votes = LeaderVotes(out var leader);
        return leader is not null
            && votes < Majority
            && (votes > tally.Mine || (votes == tally.Mine && Mark.IsBefore(Mark.OwnerOf(leader), _owner)));
    }

    private void Raise()
    {
        for (var i = 0; i < Nodes.Length; i++)
        {
            ref var vote = ref _votes[i];
            if (vote.Is == Is.Mine && vote.Number != _final)
            {
                vote.IsRaising = true;
                Send(i, RedlockScripts.Raise, RaiseKeys(), [_owner, _final]);
            }
        }
    }

    /// <summary>Behind the requests, over the same connections, so that it also meets votes that are on their way.</summary>
    private void GiveBack()
    {
        if (_givenWay)
        {
            return;
        }
        for (var i = 0; i < Nodes.Length; i++)
        {
            ref var vote = ref _votes[i];
            if (vote.IsPending || vote.Is is Is.Mine or Is.Unknown)
            {
                Nodes[i].Post(RedisScript.Release, [_keys[0]], ReleaseCall.Values(_names, _key, _owner));
                vote.Is = vote.Is == Is.Mine ? Is.Free : vote.Is;
            }
        }
    }

    private RedisKey[] RaiseKeys() => [_keys[0], _keys[1]];
}
