using Microsoft.Extensions.Logging;
using Scheduler.Hosting;
using Scheduler.Locking;
using Scheduler.Redis.Batching;
using Scheduler.Redis.Telemetry;

namespace Scheduler.Redis.Redlock;

/// <summary>
/// Grants kept on a majority of 3 or 5 (any odd number from 3 to 15) independent Redis servers, asked at the same time.
/// </summary>
/// <remarks>
/// Guarantees: a grant counts when a majority of the nodes gave its owner the key and agreed on its number, so of two grants of a key one
/// node at least has seen both, and the later number is the larger. A node that was restarted, flushed or replaced does not count until
/// it is checked and has waited (see <see cref="RedisLeaseStore"/>); the others go on. A node that is down or silent is not waited for:
/// with a minority away all goes on, with a majority away every call ends in bounded time. Not guaranteed: that grants survive when a
/// majority of the nodes forgets, or when the clocks of a majority jump, hence <see cref="Level.Efficiency"/>. There is no one server's
/// time in answers. Thread-safe. docs/redis.md describes the keys and what happens when votes are split.
/// </remarks>
public sealed class RedlockLeaseStore : ILeaseStore
{
    private readonly BackendContext _context;
    private readonly RedlockNode[] _nodes;
    private readonly RedlockKeys _keys;
    private readonly Bounded _bounded;
    private readonly StoreIdentity _identity;
    private readonly RedlockFeed _feed;
    private readonly ILogger _log;
    private readonly string?[] _runIds;
    private readonly Lock _gate = new();
    private long _lastNumber;
    private volatile bool _wasUsed;

    /// <summary>Makes the store without contacting the servers.</summary>
    /// <param name="endpoints">For each server host:port and options of StackExchange.Redis; an odd number from 3 to 15. Never logged or
    /// shown.</param>
    /// <param name="context">Group, replica, times, clocks and loggers.</param>
    /// <exception cref="ArgumentException">The endpoints are not what is allowed; the message shows nothing of their options.</exception>
    public RedlockLeaseStore(IReadOnlyList<string> endpoints, BackendContext context)
    {
        ArgumentNullException.ThrowIfNull(context);
        var problems = RedlockEndpoints.Problems(endpoints);
        if (problems.Count > 0)
        {
            throw new ArgumentException($"The endpoints of Redlock: {string.Join(" ", problems)}", nameof(endpoints));
        }
        _context = context;
        _log = context.Loggers.CreateLogger<RedlockLeaseStore>();
        var connections = endpoints.Select(e => new RedisConnection(e, context, _log)).ToList();
        // One channel name for all nodes, so that one message suits them all.
        var names = new RedisNames(context.Group, connections[0].Database);
        _keys = new RedlockKeys(names);
        _bounded = new Bounded(context.Leases.CallTimeout, context.Time);
        _runIds = new string?[connections.Count];
        _nodes = [.. connections.Select((c, i) => new RedlockNode(i, c, names, context, _log) { Claim = Claim, CameBack = OnCameBack })];
        _identity = new StoreIdentity(_nodes, _keys, context, _log);
        _feed = new RedlockFeed(_nodes, _bounded, _log);
    }

    /// <inheritdoc/>
    public LeaseStoreTraits Traits { get; } =
        new(
            "redlock",
            Level.Efficiency,
            Fifo: false,
            PushesReleases: true,
            HostLocal: false,
            PollInterval: TimeSpan.FromSeconds(1),
            MaxRenewalBatch: Batcher.LargestBatch
        );

    private int Majority => (_nodes.Length / 2) + 1;

    /// <inheritdoc/>
    /// <remarks>
    /// Passes when a majority of the nodes does; the others are tried again in the background, at most once per
    /// <see cref="LeaseOptions.ProbeInterval"/>, when the store is used. Two endpoints that lead to the same server are refused for good.
    /// </remarks>
    public async ValueTask<LeaseStoreInfo> CheckAsync(LockStoreUse use, CancellationToken cancellationToken)
    {
        // Whatever State knows: a store that this process has used, or on which a node keeps an id, is used, and an empty node forgot.
        var known = _wasUsed || use == LockStoreUse.Used || await _identity.IsKnownAsync(cancellationToken) ? LockStoreUse.Used : use;
        var checks = Array.ConvertAll(
            _nodes,
            node =>
            {
                node.Use = known;
                return node.CheckAsync();
            }
        );
        await PassedAsync(checks, cancellationToken);
        if (Array.Find(_nodes, n => n.IsSameServerTwice) is { Problem: { } twice })
        {
            throw twice;
        }
        var passed = _nodes.Count(n => n.Usable is not null);
        if (passed < Majority)
        {
            throw Refusal();
        }
        var id = await _identity.AgreeAsync(cancellationToken);
        _wasUsed = true;
        foreach (var node in _nodes)
        {
            node.Use = LockStoreUse.Used;
        }
        return new LeaseStoreInfo(id, Level.Efficiency, Warnings(checks));
    }

    /// <inheritdoc/>
    public ValueTask<StateMark?> PairAsync(StateMark? mark, TimeSpan replaceAfter, CancellationToken cancellationToken)
    {
        cancellationToken.ThrowIfCancellationRequested();
        return new StateCall(_nodes, _keys, _bounded, mark, replaceAfter).RunAsync(cancellationToken);
    }

    /// <inheritdoc/>
    /// <exception cref="ArgumentOutOfRangeException">The duration is below 1 ms or above
    /// <see cref="LeaseOptions.LongestLease"/>.</exception>
    public ValueTask<AcquireResult> AcquireAsync(AcquireRequest request, CancellationToken cancellationToken)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(request.Duration, TimeSpan.FromMilliseconds(1), nameof(request));
        ArgumentOutOfRangeException.ThrowIfGreaterThan(request.Duration, _context.Leases.LongestLease, nameof(request));
        cancellationToken.ThrowIfCancellationRequested();
        return new Acquisition(_nodes, _keys, _bounded, request, NextNumber()).RunAsync(cancellationToken);
    }

    /// <inheritdoc/>
    public ValueTask<RenewalReply> RenewAsync(IReadOnlyList<RenewalItem> batch, CancellationToken cancellationToken)
    {
        ArgumentNullException.ThrowIfNull(batch);
        ArgumentOutOfRangeException.ThrowIfZero(batch.Count, nameof(batch));
        ArgumentOutOfRangeException.ThrowIfGreaterThan(batch.Count, Traits.MaxRenewalBatch, nameof(batch));
        foreach (var item in batch)
        {
            ArgumentOutOfRangeException.ThrowIfGreaterThan(item.Duration, _context.Leases.LongestLease, nameof(batch));
        }
        cancellationToken.ThrowIfCancellationRequested();
        return new RenewalCall(_nodes, _keys, _bounded, batch).RunAsync(cancellationToken);
    }

    /// <inheritdoc/>
    public ValueTask<ReleaseResult> ReleaseAsync(LockKey key, LeaseOwner owner, CancellationToken cancellationToken)
    {
        cancellationToken.ThrowIfCancellationRequested();
        return new ReleaseCall(_nodes, _bounded).RunAsync(_keys, key, owner, cancellationToken);
    }

    /// <inheritdoc/>
    public ValueTask<RevokeResult> RevokeAsync(LockKey key, long number, CancellationToken cancellationToken)
    {
        cancellationToken.ThrowIfCancellationRequested();
        return new RevokeCall(_nodes, _bounded).RunAsync(_keys, key, number, cancellationToken);
    }

    /// <inheritdoc/>
    public async ValueTask<LeaseRecord?> ReadAsync(LockKey key, CancellationToken cancellationToken)
    {
        cancellationToken.ThrowIfCancellationRequested();
        return (await new ShowCall(_nodes, _keys, _bounded, [key], []).RunAsync(cancellationToken))[0];
    }

    /// <inheritdoc/>
    /// <remarks>A page may have few grants or none and still have a next one; within a page the grants are ordered.</remarks>
    public async ValueTask<LeasePage> ListAsync(string prefix, int limit, string? cursor, CancellationToken cancellationToken)
    {
        ArgumentNullException.ThrowIfNull(prefix);
        ArgumentOutOfRangeException.ThrowIfLessThan(limit, 1);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(limit, 1_000);
        cancellationToken.ThrowIfCancellationRequested();
        try
        {
            return await new RedlockListing(_nodes, _keys, _bounded).PageAsync(prefix, limit, cursor, cancellationToken);
        }
        catch (Exception gone) when (gone is not (OperationCanceledException or ArgumentException or StoreUnavailableException))
        {
            throw new StoreUnavailableException(Quorum.Missing(_nodes, "could be listed"), gone);
        }
    }

    /// <inheritdoc/>
    public async ValueTask<IAsyncDisposable> SubscribeAsync(Action<LockKey> mayBeFree, CancellationToken cancellationToken)
    {
        ArgumentNullException.ThrowIfNull(mayBeFree);
        return await _feed.AddAsync(mayBeFree, cancellationToken);
    }

    /// <inheritdoc/>
    public async ValueTask DisposeAsync()
    {
        _feed.Dispose();
        await Task.WhenAll(_nodes.Select(n => n.DisposeAsync().AsTask()));
    }

    /// <summary>Waits for all nodes, but once a majority has passed not longer than one call may take.</summary>
    private async Task PassedAsync(Task<RedisCheckResult>[] checks, CancellationToken cancellationToken)
    {
        var all = Task.WhenAll(checks);
        try
        {
            await all.WaitAsync(_bounded.Limit, _bounded.Time, cancellationToken);
        }
        catch (TimeoutException)
        {
            if (_nodes.Count(n => n.Usable is not null) < Majority)
            {
                await all.WaitAsync(cancellationToken);
            }
        }
    }

    private StoreUnavailableException Refusal()
    {
        var problems = _nodes.Where(n => n.Usable is null).Select(n => n.Problem).ToList();
        var waits = problems.ConvertAll(p => p?.RetryAfter ?? TimeSpan.Zero);
        waits.Sort();
        var missing = Majority - _nodes.Count(n => n.Usable is not null);
        return new StoreUnavailableException(
            Quorum.Missing(_nodes, "passed the check"),
            problems.Find(p => p?.InnerException is not null)?.InnerException,
            // When so many are over their wait as are missing.
            retryAfter: waits[missing - 1] > TimeSpan.Zero ? waits[missing - 1] : null,
            permanent: problems.Count(p => p is { IsPermanent: true }) > _nodes.Length - Majority
        );
    }

    private List<string> Warnings(Task<RedisCheckResult>[] checks)
    {
        List<string> warnings = [.. _nodes.Where(n => n.Usable is null && n.Problem is not null).Select(n => n.Problem!.Message)];
        foreach (var (check, node) in checks.Zip(_nodes))
        {
            if (check is { IsCompletedSuccessfully: true, Result.Info: { } info })
            {
                warnings.AddRange(info.Warnings.Select(w => $"Redis at {node.Endpoint}: {w}"));
            }
        }
        return warnings;
    }

    /// <summary>The larger of the last + 1 and this process's time in microseconds.</summary>
    private long NextNumber()
    {
        var now = (_context.Time.GetUtcNow() - DateTimeOffset.UnixEpoch).Ticks / TimeSpan.TicksPerMicrosecond;
        while (true)
        {
            var last = Volatile.Read(ref _lastNumber);
            var next = Math.Max(last + 1, now);
            if (Interlocked.CompareExchange(ref _lastNumber, next, last) == last)
            {
                return next;
            }
        }
    }

    private RedlockNode? Claim(RedlockNode node, string runId)
    {
        lock (_gate)
        {
            _runIds[node.Index] = null;
            var other = Array.IndexOf(_runIds, runId);
            if (other >= 0)
            {
                return _nodes[other];
            }
            _runIds[node.Index] = runId;
            return null;
        }
    }

    private void OnCameBack(RedlockNode node)
    {
        _feed.NodeCameBack(node);
        if (_wasUsed)
        {
            _ = AdoptAsync();
        }
    }

    private async Task AdoptAsync()
    {
        try
        {
            await _identity.AgreeAsync(CancellationToken.None);
        }
#pragma warning disable CA1031 // Nobody awaits this; the next check of the store does the same.
        catch (Exception exception)
#pragma warning restore CA1031
        {
            _log.ComingBackFailed(exception.Message);
        }
    }
}
