using System.Collections.Concurrent;
using Microsoft.Extensions.Logging;
using Scheduler.Leases;
using Scheduler.Locking;
using Scheduler.Telemetry;

namespace Scheduler.Runs;

/// <summary>
/// The way of a fire: lock → claim → ask again whether the lock is held → body → completion → release. Nothing in it waits for a key
/// or tries twice, because it holds a worker slot. Thread-safe.
/// </summary>
public sealed class RunPipeline : IAsyncDisposable
{
    private readonly ILockProvider _locks;
    private readonly IRunClaims _claims;
    private readonly ReplicaIdentity _replica;
    private readonly TimeProvider _time;
    private readonly ILogger _logger;
    private readonly Completer _completer;
    private readonly RunEventWriter? _events;
    private readonly SkipCounter? _skips;
    private readonly CancellationTokenSource _stopping = new();
    private readonly ConcurrentDictionary<Run, byte> _running = new();
    private readonly ConcurrentDictionary<object, Action> _unlocked = new();
    private int _onTheirWay;
    private volatile bool _graceOver;

    internal RunPipeline(
        ILockProvider locks,
        IRunClaims claims,
        ReplicaIdentity replica,
        LeaseOptions options,
        TimeProvider time,
        ILogger logger,
        RunEventWriter? events = null,
        SkipCounter? skips = null
    )
    {
        _locks = locks;
        _claims = claims;
        _replica = replica;
        _time = time;
        _logger = logger;
        _completer = new Completer(options.ProbeInterval, time, logger);
        _events = events;
        _skips = skips;
    }

    /// <summary>Makes a pipeline that claims in the ledger, or, without a State, by leases that outlive the body.</summary>
    public static RunPipeline Create(
        ILockProvider locks,
        StateGuard? state,
        ReplicaIdentity replica,
        LeaseOptions options,
        TimeProvider time,
        ILoggerFactory loggers
    )
    {
        ArgumentNullException.ThrowIfNull(options);
        var logger = loggers.CreateLogger<RunPipeline>();
        return state is null
            ? new RunPipeline(locks, new LeaseClaims(locks, options.LongestLease), replica, options, time, logger)
            : new RunPipeline(
                locks,
                new LedgerClaims(state, replica, time),
                replica,
                options,
                time,
                logger,
                new RunEventWriter(state, options.ProbeInterval, time, logger),
                new SkipCounter(state, replica, time, logger)
            );
    }

    /// <summary>How many fires are between the question for their lock and its release: bodies that run, or are about to.</summary>
    public int Running => Volatile.Read(ref _onTheirWay);

    /// <summary>How many ends of runs are not recorded yet.</summary>
    public int Unrecorded => _completer.Count;

    /// <summary>Whether runs of this replica may seem to go on when it is gone: bodies that have not ended, or ends that were given
    /// up.</summary>
    public bool LeavesRuns => Running > 0 || _completer.GaveUp;

    /// <summary>Fires when the replica begins to stop.</summary>
    public CancellationToken Stopping => _stopping.Token;

    /// <summary>Whether this replica executes the run now.</summary>
    public bool IsRunning(string runId) => _running.Keys.Any(run => run.Id == runId);

    /// <summary>Takes one fire all the way. Never throws for what the body, the store or the State do; see
    /// <see cref="FireResult"/>.</summary>
    /// <param name="fire">What is to run.</param>
    /// <param name="body">The job; gets its run.</param>
    /// <param name="cancellationToken">The token that the body gets, too; fires when somebody interrupts the fire.</param>
    public async ValueTask<FireResult> ExecuteAsync(FireRequest fire, Func<IRun, ValueTask> body, CancellationToken cancellationToken)
    {
        ArgumentNullException.ThrowIfNull(fire);
        ArgumentNullException.ThrowIfNull(body);
        // Counted before the question whether the replica stops: whoever sees nothing on its way after a stop began, has seen all.
        Interlocked.Increment(ref _onTheirWay);
        try
        {
            return _stopping.IsCancellationRequested
                ? Skip(fire, SkipReason.Stopping, "this replica is stopping", _replica.Id)
                : await LockAsync(fire, body, cancellationToken);
        }
        finally
        {
            Interlocked.Decrement(ref _onTheirWay);
        }
    }

    /// <summary>Runs a body without a lock, one of those that run on every replica: a stop waits for it and cancels it like the
    /// others.</summary>
    /// <param name="body">The job.</param>
    /// <param name="cancel">Cancels the body's token; returns at once and never throws.</param>
    public async ValueTask ExecuteUnlockedAsync(Func<ValueTask> body, Action cancel)
    {
        ArgumentNullException.ThrowIfNull(body);
        var ticket = new object();
        Interlocked.Increment(ref _onTheirWay);
        _unlocked[ticket] = cancel;
        try
        {
            await body();
        }
        finally
        {
            _unlocked.TryRemove(ticket, out _);
            Interlocked.Decrement(ref _onTheirWay);
        }
    }

    private async ValueTask<FireResult> LockAsync(FireRequest fire, Func<IRun, ValueTask> body, CancellationToken cancellationToken)
    {
        LockAttempt attempt;
        try
        {
            attempt = await _locks.TryAcquireAsync(fire.LockKey, fire.Occurrence.ToString(), fire.Lease, cancellationToken);
        }
        catch (Exception e) when (e is OperationCanceledException or ArgumentException)
        {
            return NotStarted(fire, Verdict.Describe(e));
        }
        if (attempt is not LockAttempt.Granted { Lease: var lease })
        {
            return attempt is LockAttempt.Held held
                ? Skip(fire, SkipReason.Held, $"'{fire.LockKey}' is held by {held.Holder} for {held.Purpose}", held.Holder)
                : NotStarted(fire, $"the lock store: {((LockAttempt.Unavailable)attempt).Reason}");
        }
        ClaimAnswer answer;
        try
        {
            answer = await _claims.ClaimAsync(fire, lease, cancellationToken);
        }
        catch (Exception e) when (e is StateUnavailableException or OperationCanceledException)
        {
            _completer.Enqueue(fire.Occurrence, lease, token => _claims.ResolveAsync(fire, lease, token), e.Message);
            return NotStarted(fire, e.Message);
        }
        catch (ArgumentException e)
        {
            // Refused before anything was written.
            await lease.ReleaseAsync(CancellationToken.None);
            return NotStarted(fire, Verdict.Describe(e));
        }
        if (answer is not ClaimAnswer.Claimed claim)
        {
            await lease.ReleaseAsync(CancellationToken.None);
            if (answer is ClaimAnswer.NotOurs { Event: { } did })
            {
                _events?.Add(did);
            }
            return answer is ClaimAnswer.NotOurs notOurs
                ? Skip(fire, SkipReason.Recorded, notOurs.Reason, notOurs.Holder)
                : NotStarted(fire, ((ClaimAnswer.Unavailable)answer).Reason);
        }
        var run = new Run(fire, claim.RunId, claim.Attempt, lease, _replica.Id, _stopping.Token);
        using var scope = _logger.BeginScope(new RunScope(run, _replica));
        var result = await RunBodyAsync(run, body, cancellationToken);
        await CompleteAsync(fire, claim, lease, run, result);
        return result;
    }

    /// <summary>Begins to stop: no new fires, and <see cref="IRun.Stopping"/> fires for the bodies that run.</summary>
    public void BeginStop() => _stopping.Cancel();

    /// <summary>Cancels the bodies that still run, because the grace time is over.</summary>
    public void CancelBodies()
    {
        _graceOver = true;
        foreach (var run in _running.Keys)
        {
            Cancel(run, CancelReason.Stop);
        }
        foreach (var cancel in _unlocked.Values)
        {
            cancel();
        }
    }

    /// <summary>Gives up ends of runs that are not recorded yet. Bodies that still run keep their leases, and their tokens.</summary>
    public async ValueTask DisposeAsync()
    {
        await _completer.DisposeAsync();
        await (_events?.DisposeAsync() ?? ValueTask.CompletedTask);
        await (_skips?.DisposeAsync() ?? ValueTask.CompletedTask);
    }

    private async ValueTask<FireResult> RunBodyAsync(Run run, Func<IRun, ValueTask> body, CancellationToken cancellationToken)
    {
        var started = _time.GetTimestamp();
        long? begun = null;
        _running.TryAdd(run, 0);
        var onLost = run.Lost.UnsafeRegister(_ => Cancel(run, CancelReason.LeaseLost), null);
        if (_graceOver)
        {
            Cancel(run, CancelReason.Stop);
        }
        var kept = _events is not null && run.KeepLog > 0 ? new KeptLog(run.KeepLog, _time) : null;
        Exception? error = null;
        try
        {
            // Asked again: the claim may have taken longer than the lease.
            run.ThrowIfLost();
            RunLog.RunStarted(_logger, run.Occurrence, run.Attempt, run.Token);
            (run.BegunAt, begun) = (_time.GetUtcNow(), _time.GetTimestamp());
            KeptLog.Current = kept;
            await body(run);
        }
#pragma warning disable CA1031 // Whatever the body throws is its result; Quartz gets it from there.
        catch (Exception e)
#pragma warning restore CA1031
        {
            error = e;
        }
        KeptLog.Current = null;
        if (kept?.Close() is { } lines)
        {
            _events!.Add(new RunEvent(run.Id, RunEventKind.Log, _time.GetUtcNow(), run.Attempt, run.Token, _replica.Id, lines));
        }
        run.EndedAt = begun is { } since ? run.BegunAt + _time.GetElapsedTime(since) : null;
        onLost.Unregister();
        _running.TryRemove(run, out _);
        var result = Verdict.Of(run, error, cancellationToken);
        if (result is FireResult.Interrupted { Reason: CancelReason.LeaseLost })
        {
            TellLoss(run);
        }
        RunLog.Ended(_logger, result, _time.GetElapsedTime(started));
        return result;
    }

    private async ValueTask CompleteAsync(FireRequest fire, ClaimAnswer.Claimed claim, Lease lease, Run run, FireResult result)
    {
        var ended = run.EndedAt ?? _time.GetUtcNow();
        var completion = Verdict.CompletionOf(fire, claim, lease.Token, result, ended, Random.Shared.NextDouble()) with
        {
            StartedAt = run.BegunAt,
        };
        RunLog.Decided(_logger, fire.Occurrence, completion);
        try
        {
            await RecordAsync(CancellationToken.None);
        }
#pragma warning disable CA1031 // The completer tries again what may be mended, gives up what may not, and says so; the fire has ended.
        catch (Exception e)
#pragma warning restore CA1031
        {
            _completer.Enqueue(fire.Occurrence, lease, RecordAsync, e.Message);
            return;
        }
        await lease.ReleaseAsync(CancellationToken.None);

        async ValueTask RecordAsync(CancellationToken token)
        {
            if (!await _claims.CompleteAsync(claim, completion, token))
            {
                RunLog.CompletionRefused(_logger, fire.Occurrence, claim.Attempt);
                _events?.Add(Verdict.Refused(completion, _replica.Id, _time.GetUtcNow()));
            }
        }
    }

    private void Cancel(Run run, CancelReason reason)
    {
        // The thread that tells of a loss is outside of the run's own scope.
        using var scope = _logger.BeginScope(new RunScope(run, _replica));
        RunLog.Cancelling(_logger, run.Occurrence, reason);
        run.Cancel(reason);
        if (reason == CancelReason.LeaseLost)
        {
            TellLoss(run);
        }
    }

    private void TellLoss(Run run)
    {
        if (_events is not null && run.TryTellLoss())
        {
            var why = Verdict.Describe(run.LossReason);
            _events.Add(new RunEvent(run.Id, RunEventKind.Lost, _time.GetUtcNow(), run.Attempt, run.Token, _replica.Id, why));
        }
    }

    private FireResult.Skipped Skip(FireRequest fire, SkipReason kind, string reason, string? holder)
    {
        _skips?.Add(fire.Occurrence.Job, kind);
        RunLog.Skipped(_logger, fire.Occurrence, reason);
        return new FireResult.Skipped(reason, holder);
    }

    private FireResult.Unavailable NotStarted(FireRequest fire, string reason)
    {
        RunLog.NotStarted(_logger, fire.Occurrence, reason);
        return new FireResult.Unavailable(reason);
    }
}
