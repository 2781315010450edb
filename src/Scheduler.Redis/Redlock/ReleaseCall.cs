using Scheduler.Locking;
using StackExchange.Redis;

namespace Scheduler.Redis.Redlock;

/// <summary>
/// Ends or revokes a grant on all nodes. Confirmed by a majority: fewer than a majority can have it then, so that it neither counts nor
/// keeps others out. What reaches a silent node is done when it goes on, and nobody waits for that.
/// </summary>
internal abstract class GrantCall(RedlockNode[] nodes, Bounded bounded) : NodeCall(nodes)
{
    protected int Pending { get; private set; }

    protected int There { get; set; }

    protected int NotThere { get; set; }

    /// <summary>Sends a script to all nodes.</summary>
    /// <returns>Whether the grant was there: not when a majority says that it was not.</returns>
    /// <exception cref="StoreUnavailableException">Fewer than a majority answered.</exception>
    protected async ValueTask<bool> RunAsync(RedisScript script, RedisKey key, RedisValue[] values, CancellationToken cancellationToken)
    {
        RedisKey[] keys = [key];
        await AskAsync(_ => SendAll(script, keys, values), bounded, bounded.Limit, bounded.Limit / 2, cancellationToken);
        lock (Gate)
        {
            return There + NotThere >= Majority ? NotThere < Majority : throw Quorum.Unavailable(Nodes);
        }
    }

    protected abstract void TakeAnswer(RedisResult answer);

    protected override void Take(int node, Step step, RedisResult? answer, Exception? error)
    {
        Pending--;
        if (answer is not null)
        {
            TakeAnswer(answer);
        }
    }

    protected override bool IsDecided() =>
        There >= Majority || NotThere >= Majority || Pending == 0 || (IsImpatient && There + NotThere >= Majority);

    private void SendAll(RedisScript script, RedisKey[] keys, RedisValue[] values)
    {
        for (var i = 0; i < Nodes.Length; i++)
        {
            Nodes[i].RecheckIfDue();
            if (Nodes[i].IsSilent)
            {
                Nodes[i].Post(script, keys, values);
            }
            else
            {
                Pending++;
                Send(i, script, keys, values);
            }
        }
    }
}

/// <summary>Ends the grant of an owner.</summary>
internal sealed class ReleaseCall(RedlockNode[] nodes, Bounded bounded) : GrantCall(nodes, bounded)
{
    private bool _contended;

    /// <summary>What release.lua takes; the message names the owner too, so that the reports of several nodes are seen to be one.</summary>
    public static RedisValue[] Values(RedlockKeys names, LockKey key, string owner) =>
        [names.Names.ReleasedChannel, owner, $"{owner}\n{key.Value}"];

    public async ValueTask<ReleaseResult> RunAsync(RedlockKeys names, LockKey key, LeaseOwner owner, CancellationToken cancellationToken)
    {
        var there = await RunAsync(RedisScript.Release, names.Lock(key.Value), Values(names, key, owner.ToString()), cancellationToken);
        lock (Gate)
        {
            return new ReleaseResult(there, there && _contended);
        }
    }

    protected override void TakeAnswer(RedisResult answer)
    {
        var outcome = (long)answer;
        (There, NotThere) = outcome > 0 ? (There + 1, NotThere) : (There, NotThere + 1);
        _contended |= outcome == 2;
    }
}

/// <summary>Marks the grant with a number as revoked: where a majority has marked it or lacks it, no majority can renew it.</summary>
internal sealed class RevokeCall(RedlockNode[] nodes, Bounded bounded) : GrantCall(nodes, bounded)
{
    private readonly List<long> _left = [];

    // All that answer: a node on which it comes behind a renewal of the holder would show a later end than the grant has.
    protected override bool IsDecided() => Pending == 0 || (IsImpatient && There + NotThere >= Majority);

    public async ValueTask<RevokeResult> RunAsync(RedlockKeys names, LockKey key, long number, CancellationToken cancellationToken)
    {
        var found = await RunAsync(RedisScript.Revoke, names.Lock(key.Value), [number], cancellationToken);
        lock (Gate)
        {
            // The key is free when a majority of nodes is.
            _left.Sort();
            return new RevokeResult(found, TimeSpan.FromMilliseconds(Math.Max(0, _left[Majority - 1])));
        }
    }

    protected override void TakeAnswer(RedisResult answer)
    {
        var reply = (RedisResult[])answer!;
        (There, NotThere) = (long)reply[0] == 1 ? (There + 1, NotThere) : (There, NotThere + 1);
        _left.Add((long)reply[1]);
    }
}
