using Scheduler.Locking;
using StackExchange.Redis;

namespace Scheduler.Redis.Redlock;

/// <summary>
/// Renews a batch, one call per node, each grant decided by its own majority. A node that lost a grant does not get it back: a vote that
/// was not given before the first command of the acquisition would let a majority arise whose members never held it together (rule 5).
/// </summary>
internal sealed class RenewalCall : NodeCall
{
    private readonly Bounded _bounded;
    private readonly RedisKey[] _keys;
    private readonly RedisValue[] _values;
    private readonly TimeSpan _shortest = TimeSpan.MaxValue;
    private readonly (byte Renewed, byte Revoked, byte Lost)[] _counts;
    private int _pending;
    private int _answered;

    public RenewalCall(RedlockNode[] nodes, RedlockKeys names, Bounded bounded, IReadOnlyList<RenewalItem> batch)
        : base(nodes)
    {
        _bounded = bounded;
        _keys = new RedisKey[batch.Count];
        _values = new RedisValue[2 * batch.Count];
        _counts = new (byte, byte, byte)[batch.Count];
        for (var i = 0; i < _keys.Length; i++)
        {
            var item = batch[i];
            _keys[i] = names.Lock(item.Key.Value);
            _values[2 * i] = item.Owner.ToString();
            _values[(2 * i) + 1] = (long)item.Duration.TotalMilliseconds;
            _shortest = item.Duration < _shortest ? item.Duration : _shortest;
        }
    }

    /// <summary>Sends the batch.</summary>
    /// <exception cref="StoreUnavailableException">Fewer than a majority answered.</exception>
    public async ValueTask<RenewalReply> RunAsync(CancellationToken cancellationToken)
    {
        // Half of what Core waits for a renewal: the grants that are decided must not wait for a node that has fallen silent.
        var patience = (_shortest / 4 < _bounded.Limit ? _shortest / 4 : _bounded.Limit) / 2;
        await AskAsync(static call => ((RenewalCall)call).SendAll(), _bounded, _bounded.Limit, patience, cancellationToken);
        lock (Gate)
        {
            return _answered >= Majority ? new RenewalReply(Array.ConvertAll(_counts, Outcome)) : throw Quorum.Unavailable(Nodes);
        }
    }

    protected override void Take(int node, Step step, RedisResult? answer, Exception? error)
    {
        _pending--;
        if (answer is null)
        {
            return;
        }
        _answered++;
        var letters = (string)((RedisResult[])answer!)[0]!;
        for (var i = 0; i < _counts.Length; i++)
        {
            switch (letters[i])
            {
                case 'R':
                    _counts[i].Renewed++;
                    break;
                case 'V':
                    _counts[i].Revoked++;
                    break;
                default:
                    _counts[i].Lost++;
                    break;
            }
        }
    }

    protected override bool IsDecided() =>
        _pending == 0 || (_answered >= Majority && (IsImpatient || !Array.Exists(_counts, c => Outcome(c) == RenewalOutcome.Unknown)));

    private RenewalOutcome Outcome((byte Renewed, byte Revoked, byte Lost) count) =>
        count.Renewed >= Majority ? RenewalOutcome.Renewed
        // With a majority that will not say "renewed", no renewal can succeed any more.
        : count.Revoked + count.Lost < Majority ? RenewalOutcome.Unknown
        : count.Revoked > 0 ? RenewalOutcome.Revoked
        : RenewalOutcome.Lost;

    private void SendAll()
    {
        for (var i = 0; i < Nodes.Length; i++)
        {
            Nodes[i].RecheckIfDue();
            if (!Nodes[i].IsSilent)
            {
                _pending++;
                Send(i, RedisScript.Renew, _keys, _values);
            }
        }
    }
}
