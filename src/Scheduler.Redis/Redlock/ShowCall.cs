using Scheduler.Locking;
using StackExchange.Redis;

namespace Scheduler.Redis.Redlock;

/// <summary>
/// Reads grants as a majority sees them. Only nodes that count are asked: one that may have forgotten would call everything free.
/// </summary>
/// <param name="nodes">All nodes.</param>
/// <param name="names">The group's keys.</param>
/// <param name="bounded">The time limit.</param>
/// <param name="keys">1 to some hundred keys.</param>
/// <param name="awaited">Nodes whose answer is waited for although a majority is clear; not longer than half the time limit.</param>
internal sealed class ShowCall(RedlockNode[] nodes, RedlockKeys names, Bounded bounded, IReadOnlyList<LockKey> keys, int[] awaited)
    : NodeCall(nodes)
{
    private readonly List<(int Node, string Value, long Left)>[] _seen = [.. keys.Select(_ => new List<(int, string, long)>())];
    private readonly bool[] _isPending = new bool[nodes.Length];
    private int _pending;
    private int _answered;

    /// <summary>Asks.</summary>
    /// <returns>For each key its grant, or null where the key is free.</returns>
    /// <exception cref="StoreUnavailableException">Fewer than a majority answered.</exception>
    public async ValueTask<LeaseRecord?[]> RunAsync(CancellationToken cancellationToken)
    {
        await AskAsync(static call => ((ShowCall)call).SendAll(), bounded, bounded.Limit, bounded.Limit / 2, cancellationToken);
        lock (Gate)
        {
            return _answered >= Majority ? [.. _seen.Select(Record)] : throw Quorum.Unavailable(Nodes);
        }
    }

    /// <summary>Whether one of the awaited nodes showed this grant of a key.</summary>
    public bool IsShownByAwaited(int key, LeaseRecord grant)
    {
        lock (Gate)
        {
            return _seen[key]
                .Exists(s =>
                    awaited.Contains(s.Node) && LockValue.Parse(s.Value) is var v && (v.Holder, v.Number) == (grant.Holder, grant.Number)
                );
        }
    }

    protected override void Take(int node, Step step, RedisResult? answer, Exception? error)
    {
        _pending--;
        _isPending[node] = false;
        if (answer is null)
        {
            return;
        }
        _answered++;
        var reply = (RedisResult[])answer!;
        for (var i = 0; i < _seen.Length; i++)
        {
            if ((string?)reply[2 * i] is { Length: > 0 } value)
            {
                _seen[i].Add((node, value, (long)reply[(2 * i) + 1]));
            }
        }
    }

    protected override bool IsDecided() => _pending == 0 || (_answered >= Majority && (IsImpatient || IsClear()));

    private bool IsClear() => !Array.Exists(awaited, n => _isPending[n]) && Array.TrueForAll(_seen, IsClear);

    private bool IsClear(List<(int Node, string Value, long Left)> seen) =>
        _answered - seen.Count >= Majority || (seen.Count >= Majority && Leader(seen).Count >= Majority);

    private static List<(int Node, string Value, long Left)> Leader(List<(int Node, string Value, long Left)> seen) =>
        seen.ConvertAll(one => seen.FindAll(other => Mark.Of(other.Value).SequenceEqual(Mark.Of(one.Value)))).MaxBy(same => same.Count)
        ?? [];

    private LeaseRecord? Record(List<(int Node, string Value, long Left)> seen, int key)
    {
        if (_answered - seen.Count >= Majority || seen.Count == 0)
        {
            return null;
        }
        var leader = Leader(seen);
        var shown = RedisLeaseStore.Record(keys[key], leader[0].Value, leader.Max(one => one.Left));
        // A revocation that counts stands on a majority, of which at least one node answered here.
        return shown with { Revoked = leader.Exists(one => LockValue.Parse(one.Value).Revoked) };
    }

    private void SendAll()
    {
        RedisKey[] locks = [.. keys.Select(k => names.Lock(k.Value))];
        for (var i = 0; i < Nodes.Length; i++)
        {
            if (Nodes[i].Usable is null)
            {
                Nodes[i].RecheckIfDue();
                continue;
            }
            _pending++;
            _isPending[i] = true;
            Send(i, RedlockScripts.Show, locks, []);
        }
    }
}
