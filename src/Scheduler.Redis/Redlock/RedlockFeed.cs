using System.Collections.Immutable;
using System.Numerics;
using Microsoft.Extensions.Logging;
using Scheduler.Locking;
using Scheduler.Redis.Telemetry;

namespace Scheduler.Redis.Redlock;

/// <summary>
/// The releases that all nodes report, each told once: when a majority has reported it, because the key can be taken only then; where
/// fewer nodes are heard, when these have. A message names owner and key, so the reports of one release are seen to be one. Thread-safe.
/// </summary>
internal sealed class RedlockFeed(RedlockNode[] nodes, Bounded bounded, ILogger log) : IDisposable
{
    /// <summary>How many releases are remembered; an older one that is reported again is counted anew.</summary>
    private const int MaxRemembered = 4_096;

    private readonly Lock _gate = new();
    private readonly IAsyncDisposable?[] _subscriptions = new IAsyncDisposable?[nodes.Length];
    private readonly Dictionary<string, uint> _reports = new(StringComparer.Ordinal);
    private readonly Queue<string> _order = new();
    private readonly int _majority = (nodes.Length / 2) + 1;
    private ImmutableArray<Entry> _entries = [];
    private volatile bool _disposed;

    /// <summary>Subscribes on all nodes that can be reached.</summary>
    /// <exception cref="StoreUnavailableException">No node is heard.</exception>
    public async Task<IAsyncDisposable> AddAsync(Action<LockKey> mayBeFree, CancellationToken cancellationToken)
    {
        var entry = new Entry(this, mayBeFree);
        ImmutableInterlocked.Update(ref _entries, static (all, one) => all.Add(one), entry);
        var listening = Array.ConvertAll(nodes, n => ListenAsync(n, cancellationToken));
        try
        {
            await Task.WhenAll(listening).WaitAsync(bounded.Limit / 2, bounded.Time, cancellationToken);
        }
        catch (TimeoutException)
        {
            // A silent node is heard later, if ever.
        }
        catch
        {
            await entry.DisposeAsync();
            throw;
        }
        if (Array.Exists(nodes, n => n.IsHeard))
        {
            return entry;
        }
        await entry.DisposeAsync();
        throw new StoreUnavailableException(Quorum.Missing(nodes, "push releases"));
    }

    /// <summary>A node came back: it is listened to as well, if anybody wants reports.</summary>
    public void NodeCameBack(RedlockNode node)
    {
        if (!_entries.IsEmpty && !_disposed)
        {
            _ = ListenAsync(node, CancellationToken.None);
        }
    }

    public void Dispose()
    {
        _disposed = true;
        _entries = [];
    }

    private async Task ListenAsync(RedlockNode node, CancellationToken cancellationToken)
    {
        try
        {
            if (Volatile.Read(ref _subscriptions[node.Index]) is not null)
            {
                await node.Feed.EnsureAsync(cancellationToken);
                return;
            }
            var subscription = await node.Feed.AddRawAsync(message => OnMessage(node.Index, message), cancellationToken);
            if (Interlocked.CompareExchange(ref _subscriptions[node.Index], subscription, null) is not null)
            {
                await subscription.DisposeAsync();
            }
        }
        catch (OperationCanceledException) when (cancellationToken.IsCancellationRequested)
        {
            throw;
        }
#pragma warning disable CA1031 // Whatever it is, the other nodes report.
        catch (Exception exception)
#pragma warning restore CA1031
        {
            if (node.Usable is not null && !_disposed)
            {
                log.SubscriptionBroken(node.Endpoint, node.Connection.Translate(exception).Message);
            }
        }
    }

    private void OnMessage(int node, string message)
    {
        var end = message.IndexOf('\n', StringComparison.Ordinal);
        if (end < 0 || LockKey.Problem(message[(end + 1)..]) is not null || !IsToBeTold(node, message))
        {
            return;
        }
        var key = LockKey.From(message[(end + 1)..]);
        foreach (var entry in _entries)
        {
            try
            {
                entry.MayBeFree(key);
            }
#pragma warning disable CA1031 // The contract forbids subscribers to throw; one that does must not silence the others.
            catch (Exception exception)
#pragma warning restore CA1031
            {
                log.SubscriberFailed(exception);
            }
        }
    }

    private bool IsToBeTold(int node, string message)
    {
        const uint Told = 1u << 31;
        var needed = Math.Clamp(nodes.Count(n => n.IsHeard), 1, _majority);
        lock (_gate)
        {
            if (!_reports.TryGetValue(message, out var reports))
            {
                if (_order.Count == MaxRemembered)
                {
                    _reports.Remove(_order.Dequeue());
                }
                _order.Enqueue(message);
            }
            reports |= 1u << node;
            var tell = (reports & Told) == 0 && BitOperations.PopCount(reports) >= needed;
            _reports[message] = tell ? reports | Told : reports;
            return tell;
        }
    }

    private sealed class Entry(RedlockFeed feed, Action<LockKey> mayBeFree) : IAsyncDisposable
    {
        public Action<LockKey> MayBeFree { get; } = mayBeFree;

        public ValueTask DisposeAsync()
        {
            ImmutableInterlocked.Update(ref feed._entries, static (all, one) => all.Remove(one), this);
            return ValueTask.CompletedTask;
        }
    }
}
