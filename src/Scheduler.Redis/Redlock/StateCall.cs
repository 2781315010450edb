using Scheduler.Locking;
using StackExchange.Redis;

namespace Scheduler.Redis.Redlock;

/// <summary>
/// Shows or notes on all nodes that count which State the locks belong to. The State that a majority notes is the one; where none has a
/// majority, because two were noted at once or nodes forgot, the one that most nodes have.
/// </summary>
internal sealed class StateCall(RedlockNode[] nodes, RedlockKeys names, Bounded bounded, StateMark? mark, TimeSpan replaceAfter)
    : NodeCall(nodes)
{
    private readonly List<StateMark?> _seen = [];
    private int _pending;

    /// <summary>Asks.</summary>
    /// <exception cref="StoreUnavailableException">Fewer than a majority answered.</exception>
    public async ValueTask<StateMark?> RunAsync(CancellationToken cancellationToken)
    {
        await AskAsync(static call => ((StateCall)call).SendAll(), bounded, bounded.Limit, bounded.Limit / 2, cancellationToken);
        lock (Gate)
        {
            if (_seen.Count < Majority)
            {
                throw Quorum.Unavailable(Nodes);
            }
            var leader = Leader();
            return leader.Count == 0
                ? null
                : leader.MinBy(m => m.Age)! with
                {
                    // A node that has it from before says a smaller one.
                    Generation = _seen.Max(m => m?.Generation ?? 0),
                };
        }
    }

    protected override void Take(int node, Step step, RedisResult? answer, Exception? error)
    {
        _pending--;
        if (answer is not null)
        {
            _seen.Add(PairCall.Read(answer));
        }
    }

    protected override bool IsDecided() => _pending == 0 || (_seen.Count >= Majority && (IsImpatient || Leader().Count >= Majority));

    private List<StateMark> Leader() =>
        _seen.OfType<StateMark>().GroupBy(m => m.Id, StringComparer.Ordinal).MaxBy(g => g.Count())?.ToList() ?? [];

    private void SendAll()
    {
        var keys = PairCall.Keys(names.Names);
        for (var i = 0; i < Nodes.Length; i++)
        {
            if (Nodes[i].Usable is not { } node)
            {
                Nodes[i].RecheckIfDue();
                continue;
            }
            _pending++;
            Send(i, RedisScript.Pair, keys, PairCall.Values((string)node.RunId!, mark, replaceAfter));
        }
    }
}
