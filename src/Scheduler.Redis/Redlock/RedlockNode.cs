using Microsoft.Extensions.Logging;
using Scheduler.Hosting;
using Scheduler.Locking;
using Scheduler.Redis.Telemetry;
using StackExchange.Redis;

namespace Scheduler.Redis.Redlock;

/// <summary>
/// One server of a Redlock: its connection, its check, its feed, and whether it counts now. A node that failed, fell silent or may have
/// forgotten does not count until a check of it passed; the others go on meanwhile. Thread-safe.
/// </summary>
internal sealed class RedlockNode : IAsyncDisposable
{
    /// <summary>What is sent to a node that does not answer, so that it is done when the node goes on, has this bound.</summary>
    private const int MaxUnanswered = 10_000;

    private readonly Lock _gate = new();
    private readonly BackendContext _context;
    private readonly RedisCheck _check;
    private readonly ILogger _log;
    private Task<RedisCheckResult>? _running;
    private volatile CheckedNode? _checked;
    private volatile StoreUnavailableException? _problem;
    private long _nextTry = long.MinValue;
    private long _progressAt;
    private int _unanswered;
    private bool _loggedOut = true;
    private volatile bool _disposed;

    public RedlockNode(int index, RedisConnection connection, RedisNames names, BackendContext context, ILogger log)
    {
        Index = index;
        Connection = connection;
        _context = context;
        _log = log;
        _check = new RedisCheck(connection, names, context, log, RedlockScripts.Acquire, RedlockScripts.Harmless);
        Feed = new ReleaseFeed(connection, names, context.Time, log);
        connection.Restored += OnRestored;
    }

    /// <summary>Called after a check in the background passed.</summary>
    public Action<RedlockNode>? CameBack { get; set; }

    /// <summary>Takes a server for this node; answers the node that has it already.</summary>
    public Func<RedlockNode, string, RedlockNode?>? Claim { get; set; }

    /// <summary>Whether its last check found that another endpoint leads to the same server.</summary>
    public bool IsSameServerTwice { get; private set; }

    public int Index { get; }

    /// <summary>What is known of the past of the whole store, and so of this node.</summary>
    public LockStoreUse Use { get; set; }

    public RedisConnection Connection { get; }

    public ReleaseFeed Feed { get; }

    public string Endpoint => Connection.Endpoint;

    /// <summary>Which server process answered last.</summary>
    public string? RunId => _check.RunId;

    /// <summary>Why the node did not pass its last check.</summary>
    public StoreUnavailableException? Problem => _problem;

    /// <summary>Whether its pushed messages arrive.</summary>
    public bool IsHeard => Feed.IsHearing && Connection.IsConnected && !IsSilent;

    /// <summary>The check by which the node counts now, or null.</summary>
    public CheckedNode? Usable
    {
        get
        {
            var node = _checked;
            if (node is null || node.Epoch != Connection.Epoch)
            {
                return null;
            }
            if (IsSilent)
            {
                Exclude(node, new StoreUnavailableException($"Redis at {Endpoint}: no answer within {_context.Leases.CallTimeout}."));
                return null;
            }
            return node;
        }
    }

    /// <summary>Whether what was sent has had no answer for longer than a call may take.</summary>
    public bool IsSilent =>
        Volatile.Read(ref _unanswered) > 0 && _context.Time.GetElapsedTime(Volatile.Read(ref _progressAt)) > _context.Leases.CallTimeout;

    /// <summary>Sends at once, or says by null that nothing was sent. The caller counts the answer by <see cref="Answered"/>.</summary>
    public Task<RedisResult>? Send(RedisScript script, RedisKey[] keys, RedisValue[] values)
    {
        if (Interlocked.Increment(ref _unanswered) == 1)
        {
            Volatile.Write(ref _progressAt, _context.Time.GetTimestamp());
        }
        Task<RedisResult>? call = null;
        try
        {
            if (Volatile.Read(ref _unanswered) <= MaxUnanswered)
            {
                Connection.TrySend(script, keys, values, out call);
            }
        }
        catch (Exception failed) when (failed is RedisException or ObjectDisposedException or TimeoutException)
        {
            call = Task.FromException<RedisResult>(failed);
        }
        if (call is null)
        {
            Interlocked.Decrement(ref _unanswered);
        }
        return call;
    }

    /// <summary>Sends what nobody waits for.</summary>
    public void Post(RedisScript script, RedisKey[] keys, RedisValue[] values) =>
        _ = Send(script, keys, values)
            ?.ContinueWith(
                static (ended, node) =>
                {
                    _ = ended.Exception;
                    ((RedlockNode)node!).Answered();
                },
                this,
                CancellationToken.None,
                TaskContinuationOptions.ExecuteSynchronously,
                TaskScheduler.Default
            );

    /// <summary>A call was answered, or failed.</summary>
    public void Answered()
    {
        Volatile.Write(ref _progressAt, _context.Time.GetTimestamp());
        // Answers to what was sent before a check passed are not counted any more.
        if (Interlocked.Decrement(ref _unanswered) < 0)
        {
            Interlocked.Increment(ref _unanswered);
        }
    }

    /// <summary>The node does not count until it is checked again, because of an error in answer to a vote.</summary>
    public void Exclude(CheckedNode node, Exception cause)
    {
        if (Interlocked.CompareExchange(ref _checked, null, node) == node)
        {
            NoteProblem(Connection.Translate(cause));
        }
    }

    /// <summary>Checks the node in the background, if it does not count and has not been tried lately.</summary>
    public void RecheckIfDue()
    {
        if (Usable is null && !_disposed && _context.Time.GetTimestamp() >= Volatile.Read(ref _nextTry))
        {
            _ = CheckAsync(inBackground: true);
        }
    }

    /// <summary>The check that is under way, or a new one; never throws.</summary>
    public Task<RedisCheckResult> CheckAsync(bool inBackground = false)
    {
        lock (_gate)
        {
            if (_running is null or { IsCompleted: true })
            {
                var pause = _context.Leases.ProbeInterval;
                Volatile.Write(ref _nextTry, _context.Time.GetTimestamp() + (long)(pause.TotalSeconds * _context.Time.TimestampFrequency));
                _running = Task.Run(() => RunCheckAsync(inBackground));
            }
            return _running;
        }
    }

    public async ValueTask DisposeAsync()
    {
        _disposed = true;
        Connection.Restored -= OnRestored;
        Feed.Dispose();
        await Connection.DisposeAsync();
    }

    private async Task<RedisCheckResult> RunCheckAsync(bool inBackground)
    {
        IsSameServerTwice = false;
        try
        {
            var (info, node) = await _check.RunAsync(Use, CancellationToken.None);
            Connection.CheckPassed();
            // What was sent before and has no answer does not speak against a node that just answered.
            Volatile.Write(ref _unanswered, 0);
            if (Claim?.Invoke(this, (string)node.RunId!) is { } other)
            {
                throw SameServer(other);
            }
            _checked = node;
            _problem = null;
            if (_loggedOut)
            {
                _loggedOut = false;
                _log.NodeCounts(Endpoint);
            }
            Feed.EnsureSoon();
            if (inBackground)
            {
                CameBack?.Invoke(this);
            }
            return new RedisCheckResult(info, null);
        }
#pragma warning disable CA1031 // Whatever it is, this node does not count, and the others go on.
        catch (Exception exception)
#pragma warning restore CA1031
        {
            Connection.CheckFailed(exception);
            _checked = null;
            return new RedisCheckResult(null, NoteProblem(Connection.Translate(exception)));
        }
    }

    private StoreUnavailableException SameServer(RedlockNode other)
    {
        IsSameServerTwice = true;
        var problem =
            $"the endpoints {other.Endpoint} and {Endpoint} are the same Redis server (run_id {RunId}), so it would vote twice; "
            + "name independent servers";
        _log.SameServerTwice(problem);
        return new StoreUnavailableException($"Redlock: {problem}.", permanent: true);
    }

    private StoreUnavailableException NoteProblem(Exception translated)
    {
        var problem =
            translated as StoreUnavailableException
            ?? new StoreUnavailableException($"Redis at {Endpoint}: {translated.GetType().Name}.", translated);
        _problem = problem;
        if (!_loggedOut && !_disposed)
        {
            _loggedOut = true;
            _log.NodeDoesNotCount(Endpoint, problem.Message);
        }
        return problem;
    }

    private void OnRestored(object? sender, ConnectionFailedEventArgs restored)
    {
        if (restored.ConnectionType == ConnectionType.Interactive && Usable is null && !_disposed)
        {
            _ = CheckAsync(inBackground: true);
        }
    }
}

/// <summary>How the check of a node ended: one of the two.</summary>
internal sealed record RedisCheckResult(LeaseStoreInfo? Info, StoreUnavailableException? Problem);
