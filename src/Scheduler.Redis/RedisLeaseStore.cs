using Microsoft.Extensions.Logging;
using Scheduler.Hosting;
using Scheduler.Locking;
using Scheduler.Redis.Batching;
using StackExchange.Redis;

namespace Scheduler.Redis;

/// <summary>
/// Grants kept on one Redis server (7.0 or later) that is not clustered: one string per lock; operations that meet
/// share one script call.
/// </summary>
/// <remarks>
/// Guarantees: a key is granted by <c>SET … PX</c> inside a script that also draws the number, so there is never a grant without its
/// number; only the owner's value renews or releases; renewing never creates a key. The acquire script is called by its hash only and
/// is loaded only after <see cref="CheckAsync"/> passed, and it refuses by itself when the node's marker is not that of the node that
/// was checked: a node that was restarted, flushed or promoted grants nothing until then. Every command ends within
/// <see cref="LeaseOptions.CallTimeout"/>, one that waited for its turn in twice that. Not guaranteed: that a failover keeps grants
/// (replication is asynchronous), hence <see cref="Level.Efficiency"/>; and that leases last their time when the server's wall clock
/// jumps: the server's time comes with each grant and renewal, so that Core notices. Thread-safe. The keys are described in docs/redis.md.
/// </remarks>
public sealed class RedisLeaseStore : ILeaseStore
{
    private readonly TimeSpan _longestLease;
    private readonly RedisConnection _connection;
    private readonly RedisNames _names;
    private readonly RedisCheck _check;
    private readonly ReleaseFeed _feed;
    private readonly ILogger _log;
    private readonly GrantCalls _grants;

    /// <summary>Makes the store without contacting the server.</summary>
    /// <param name="connectionString">host:port and options of StackExchange.Redis; exactly one endpoint. Never logged or shown.</param>
    /// <param name="context">Group, replica, times, clocks and loggers.</param>
    /// <exception cref="ArgumentException">The connection string cannot be read or names several endpoints; the message shows nothing
    /// of it.</exception>
    public RedisLeaseStore(string connectionString, BackendContext context)
    {
        ArgumentException.ThrowIfNullOrEmpty(connectionString);
        ArgumentNullException.ThrowIfNull(context);
        _log = context.Loggers.CreateLogger<RedisLeaseStore>();
        _longestLease = context.Leases.LongestLease;
        _connection = new RedisConnection(connectionString, context, _log);
        _names = new RedisNames(context.Group, _connection.Database);
        _check = new RedisCheck(_connection, _names, context, _log);
        _feed = new ReleaseFeed(_connection, _names, context.Time, _log);
        _grants = new GrantCalls(_connection, _names);
    }

    /// <inheritdoc/>
    public LeaseStoreTraits Traits { get; } =
        new(
            "redis",
            Level.Efficiency,
            Fifo: false,
            PushesReleases: true,
            HostLocal: false,
            PollInterval: TimeSpan.FromSeconds(1),
            MaxRenewalBatch: Batcher.LargestBatch
        );

    /// <inheritdoc/>
    public async ValueTask<LeaseStoreInfo> CheckAsync(LockStoreUse use, CancellationToken cancellationToken)
    {
        try
        {
            var (info, node) = await _check.RunAsync(use, cancellationToken);
            _connection.CheckPassed();
            _grants.Allow(node);
            // Not waited for: without reports waiting goes on by polling, while a check that failed would take all locks away.
            _feed.EnsureSoon();
            return info;
        }
        catch (Exception exception) when (exception is not OperationCanceledException)
        {
            _connection.CheckFailed(exception);
            throw _connection.Translate(exception);
        }
    }

    /// <inheritdoc/>
    public async ValueTask<StateMark?> PairAsync(StateMark? mark, TimeSpan replaceAfter, CancellationToken cancellationToken)
    {
        var values = PairCall.Values(_check.RunId ?? "", mark, replaceAfter);
        try
        {
            return PairCall.Read(await _connection.CallHarmlessAsync(RedisScript.Pair, PairCall.Keys(_names), values, cancellationToken));
        }
        catch (Exception exception) when (exception is not OperationCanceledException)
        {
            throw _connection.Translate(exception);
        }
    }

    /// <inheritdoc/>
    /// <exception cref="ArgumentOutOfRangeException">The duration is below 1 ms or above
    /// <see cref="LeaseOptions.LongestLease"/>.</exception>
    public ValueTask<AcquireResult> AcquireAsync(AcquireRequest request, CancellationToken cancellationToken)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(request.Duration, TimeSpan.FromMilliseconds(1), nameof(request));
        ArgumentOutOfRangeException.ThrowIfGreaterThan(request.Duration, _longestLease, nameof(request));
        cancellationToken.ThrowIfCancellationRequested();
        return new(_grants.TakeAsync(request));
    }

    /// <inheritdoc/>
    public async ValueTask<RenewalReply> RenewAsync(IReadOnlyList<RenewalItem> batch, CancellationToken cancellationToken)
    {
        ArgumentNullException.ThrowIfNull(batch);
        ArgumentOutOfRangeException.ThrowIfZero(batch.Count, nameof(batch));
        ArgumentOutOfRangeException.ThrowIfGreaterThan(batch.Count, Traits.MaxRenewalBatch, nameof(batch));
        var keys = new RedisKey[batch.Count];
        var values = new RedisValue[2 * batch.Count];
        for (var i = 0; i < keys.Length; i++)
        {
            var item = batch[i];
            ArgumentOutOfRangeException.ThrowIfGreaterThan(item.Duration, _longestLease, nameof(batch));
            keys[i] = _names.Lock(item.Key.Value);
            values[2 * i] = item.Owner.ToString();
            values[(2 * i) + 1] = (long)item.Duration.TotalMilliseconds;
        }
        try
        {
            var reply = (RedisResult[])(await _connection.CallHarmlessAsync(RedisScript.Renew, keys, values, cancellationToken))!;
            var letters = (string)reply[0]!;
            var outcomes = new RenewalOutcome[keys.Length];
            for (var i = 0; i < outcomes.Length; i++)
            {
                outcomes[i] = letters[i] switch
                {
                    'R' => RenewalOutcome.Renewed,
                    'V' => RenewalOutcome.Revoked,
                    'L' => RenewalOutcome.Lost,
                    _ => RenewalOutcome.Unknown,
                };
            }
            return new RenewalReply(outcomes, RedisTime.FromMicroseconds((long)reply[1]));
        }
        catch (Exception exception) when (exception is not OperationCanceledException)
        {
            throw _connection.Translate(exception);
        }
    }

    /// <inheritdoc/>
    public ValueTask<ReleaseResult> ReleaseAsync(LockKey key, LeaseOwner owner, CancellationToken cancellationToken)
    {
        cancellationToken.ThrowIfCancellationRequested();
        return new(_grants.EndAsync(key, owner));
    }

    /// <inheritdoc/>
    public async ValueTask<RevokeResult> RevokeAsync(LockKey key, long number, CancellationToken cancellationToken)
    {
        var reply = (RedisResult[])(await CallAsync(RedisScript.Revoke, key, [number], cancellationToken))!;
        return new RevokeResult(Found: (long)reply[0] == 1, FreeAfter: RedisTime.Remaining((long)reply[1]));
    }

    /// <inheritdoc/>
    public async ValueTask<LeaseRecord?> ReadAsync(LockKey key, CancellationToken cancellationToken)
    {
        var reply = (RedisResult[])(await CallAsync(RedisScript.Read, key, [], cancellationToken))!;
        return reply.Length == 0 ? null : Record(key, (string)reply[0]!, (long)reply[1]);
    }

    /// <inheritdoc/>
    /// <remarks>
    /// Looks through the whole database step by step (SCAN), so a page may have few grants or none and still have a next one; within a
    /// page the grants are ordered. A grant that is there from the first page to the last is shown at least once, as SCAN promises.
    /// </remarks>
    public async ValueTask<LeasePage> ListAsync(string prefix, int limit, string? cursor, CancellationToken cancellationToken)
    {
        ArgumentNullException.ThrowIfNull(prefix);
        ArgumentOutOfRangeException.ThrowIfLessThan(limit, 1);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(limit, 1_000);
        try
        {
            return await new RedisListing(_connection, _names).PageAsync(prefix, limit, cursor, cancellationToken);
        }
        catch (Exception exception) when (exception is not (OperationCanceledException or ArgumentException))
        {
            throw _connection.Translate(exception);
        }
    }

    /// <inheritdoc/>
    public async ValueTask<IAsyncDisposable> SubscribeAsync(Action<LockKey> mayBeFree, CancellationToken cancellationToken)
    {
        ArgumentNullException.ThrowIfNull(mayBeFree);
        try
        {
            return await _feed.AddAsync(mayBeFree, cancellationToken);
        }
        catch (Exception exception) when (exception is not OperationCanceledException)
        {
            throw _connection.Translate(exception);
        }
    }

    /// <inheritdoc/>
    public async ValueTask DisposeAsync()
    {
        _feed.Dispose();
        await _connection.DisposeAsync();
    }

    internal static LeaseRecord Record(LockKey key, string value, long milliseconds)
    {
        var held = LockValue.Parse(value);
        return new LeaseRecord(key, held.Holder, held.Purpose, held.Number, RedisTime.Remaining(milliseconds), held.Revoked);
    }

    private async ValueTask<RedisResult> CallAsync(
        RedisScript script,
        LockKey key,
        RedisValue[] values,
        CancellationToken cancellationToken
    )
    {
        try
        {
            return await _connection.CallHarmlessAsync(script, [_names.Lock(key.Value)], values, cancellationToken);
        }
        catch (Exception exception) when (exception is not OperationCanceledException)
        {
            throw _connection.Translate(exception);
        }
    }
}
