using Microsoft.Extensions.Logging;
using Scheduler.Hosting;
using Scheduler.Locking;
using Scheduler.Redis.Telemetry;
using StackExchange.Redis;

namespace Scheduler.Redis.Redlock;

/// <summary>
/// The one id of the store, kept on all nodes: replicas that begin at the same time agree on it by a majority, and it stays while nodes
/// are replaced one after another, because a new node takes it over from the others (L. Lamport, "Paxos Made Simple": one decree, the
/// nodes are the acceptors, ballots are times in microseconds). After a majority forgot it there is another one.
/// </summary>
internal sealed class StoreIdentity(RedlockNode[] nodes, RedlockKeys names, BackendContext context, ILogger log)
{
    /// <summary>Replicas that ask at the same instant refuse each other's ballots; each refusal names the ballot to outbid.</summary>
    private const int MaxBallots = 100;

    private readonly int _majority = (nodes.Length / 2) + 1;
    private long _last;

    /// <summary>Whether any node that answers knows an id, so that the store has been used.</summary>
    public async Task<bool> IsKnownAsync(CancellationToken cancellationToken) =>
        (await AskAsync(nodes, ["read"], cancellationToken)).Any(a => ((string)a.Reply[0]!).Length > 0);

    /// <summary>The id on which the nodes that count agree.</summary>
    /// <exception cref="StoreUnavailableException">No majority agreed in time.</exception>
    public async Task<string> AgreeAsync(CancellationToken cancellationToken)
    {
        var counting = Array.FindAll(nodes, n => n.Usable is not null);
        var known = await AskAsync(counting, ["read"], cancellationToken);
        var ids = known.ConvertAll(a => (string)a.Reply[0]!);
        if (ids.Count >= _majority && ids[0].Length > 0 && ids.TrueForAll(id => id == ids[0]))
        {
            return ids[0];
        }
        _last = Math.Max(_last, known.ConvertAll(a => (long)a.Reply[1]).Append(0).Max());
        for (var i = 0; i < MaxBallots; i++)
        {
            if (await TryAsync(counting, known, cancellationToken) is { } id)
            {
                return id;
            }
        }
        throw new StoreUnavailableException(Quorum.Missing(nodes, "agreed on the id of the store"));
    }

    private async Task<string?> TryAsync(RedlockNode[] counting, List<Answer> known, CancellationToken cancellationToken)
    {
        var ballot = _last = Math.Max(
            _last + 1,
            (context.Time.GetUtcNow() - DateTimeOffset.UnixEpoch).Ticks / TimeSpan.TicksPerMicrosecond
        );
        var promises = await AskAsync(counting, ["prepare", ballot], cancellationToken);
        if (!HasMajority(promises))
        {
            return null;
        }
        var promised = promises.FindAll(p => (long)p.Reply[0] == 1);
        var newest = promised.MaxBy(p => (long)p.Reply[2])!;
        // A majority that has none, and promised to take no earlier one, is enough to choose freely: what the others still have was
        // chosen by nodes that forgot.
        var isFree = promised.Count(p => ((string)p.Reply[1]!).Length == 0) >= _majority;
        var id = isFree ? Guid.NewGuid().ToString("n") : (string)newest.Reply[1]!;
        var accepts = await AskAsync(counting, ["accept", ballot, id], cancellationToken);
        if (!HasMajority(accepts))
        {
            return null;
        }
        foreach (var (node, reply) in known.Where(k => (string)k.Reply[0]! is { Length: > 0 } before && before != id))
        {
            log.IdAdopted(node.Endpoint, id, (string)reply[0]!);
        }
        return id;
    }

    private bool HasMajority(List<Answer> answers)
    {
        foreach (var refusal in answers.Where(a => (long)a.Reply[0] == 0))
        {
            _last = Math.Max(_last, (long)refusal.Reply[1]);
        }
        return answers.Count(a => (long)a.Reply[0] == 1) >= _majority;
    }

    private async Task<List<Answer>> AskAsync(RedlockNode[] asked, RedisValue[] values, CancellationToken cancellationToken)
    {
        var calls = Array.ConvertAll(asked, n => AskAsync(n, values, cancellationToken));
        var answers = await Task.WhenAll(calls);
        return [.. answers.OfType<Answer>()];
    }

    private async Task<Answer?> AskAsync(RedlockNode node, RedisValue[] values, CancellationToken cancellationToken)
    {
        try
        {
            var reply = await node.Connection.CallHarmlessAsync(RedlockScripts.Id, [names.Names.Redlock], values, cancellationToken);
            return new Answer(node, (RedisResult[])reply!);
        }
        catch (Exception exception) when (exception is RedisException or TimeoutException or ObjectDisposedException)
        {
            // It does not take part; whether it counts is decided by its check.
            return null;
        }
    }

    private sealed record Answer(RedlockNode Node, RedisResult[] Reply);
}
