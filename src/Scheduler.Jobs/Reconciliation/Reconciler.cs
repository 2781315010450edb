using Microsoft.Extensions.Logging;
using Quartz;
using Scheduler.Jobs.Clocks;
using Scheduler.Jobs.Preference;
using Scheduler.Jobs.Telemetry;
using Scheduler.Jobs.Versions;
using Scheduler.Leases;
using Scheduler.Locking;
using Scheduler.Runs;

namespace Scheduler.Jobs.Reconciliation;

/// <summary>
/// Finds due occurrences without a row and open runs whose lock is free, whatever the cause, and sends them through the same lock and
/// claim as any fire. Stand-by, take-over and catch-up are this one loop; every replica has one, and the lock decides between them.
/// </summary>
internal sealed class Reconciler : IDisposable
{
    private static readonly TimeSpan LearnInterval = TimeSpan.FromSeconds(5);

    private readonly StateGuard _state;
    private readonly ILockProvider _locks;
    private readonly RunPipeline _pipeline;
    private readonly RunLauncher _launcher;
    private readonly Settler _settler;
    private readonly JobCatalog _jobs;
    private readonly TimeProvider _time;
    private readonly ClockGuard _clock;
    private readonly ILogger _logger;
    private readonly WakeSignal _wake;
    private readonly GroupPace _pace;
    private readonly ReplicaOrder _order;
    private readonly ScheduleBounds _bounds;
    private readonly RunningSightings _running;
    private readonly KnownHolds _holds;
    private readonly AlertMetrics _metrics;
    private volatile HashSet<LockKey> _watched = [];
    private IReadOnlyList<TrackedSchedule> _schedules = [];
    private long _lastSettling;
    private volatile bool _settleNow = true;
    private long _lastLearning;
    private string? _openCursor;
    private bool _down;

    public Reconciler(
        StateGuard state,
        ILockProvider locks,
        RunPipeline pipeline,
        RunLauncher launcher,
        JobCatalog jobs,
        ReplicaIdentity replica,
        ReplicaOrder order,
        PausedJobs paused,
        ScheduleBounds bounds,
        VersionWatch versions,
        GroupPace pace,
        TimeProvider time,
        ClockGuard clock,
        ILogger<Reconciler> logger
    )
    {
        (_state, _locks, _pipeline, _launcher, _jobs, _time) = (state, locks, pipeline, launcher, jobs, time);
        (_order, _bounds) = (order, bounds);
        (_pace, _clock, _logger) = (pace, clock, logger);
        _settler = new Settler(state, replica, paused, bounds, versions, time, logger);
        _wake = new WakeSignal(time);
        _running = new RunningSightings(time);
        _holds = new KnownHolds(time);
        _metrics = new AlertMetrics(replica);
    }

    /// <summary>Takes the schedules of this replica, before any of them fires.</summary>
    public void Track(IReadOnlyList<TrackedSchedule> schedules)
    {
        _schedules = schedules;
        _bounds.Expect(schedules.Select(s => s.Key));
    }

    /// <summary>Runs until cancelled.</summary>
    /// <param name="scheduler">Where runs are started.</param>
    /// <param name="cancellationToken">Ends the loop.</param>
    public async Task RunAsync(IScheduler scheduler, CancellationToken cancellationToken)
    {
        _launcher.LaunchEnded += LookForTheNext;
        _state.CameUp += _wake.Set;
        using var watch = _locks.Watch(key =>
        {
            _holds.Forget(key);
            if (_watched.Contains(key))
            {
                LookForTheNext();
            }
        });
        while (!cancellationToken.IsCancellationRequested)
        {
            var next = _pace.NextLook();
            try
            {
                next = await PassAsync(scheduler, cancellationToken);
                _down = false;
            }
            catch (Exception e) when (e is StateUnavailableException or StoreUnavailableException)
            {
                if (!_down)
                {
                    JobLog.ReconcilerWaits(_logger, e.Message);
                }
                _down = true;
            }
            catch (OperationCanceledException) when (cancellationToken.IsCancellationRequested)
            {
                break;
            }
#pragma warning disable CA1031 // A defect in one pass must not end take-over for the life of the process; it is logged as an error.
            catch (Exception e)
#pragma warning restore CA1031
            {
                JobLog.ReconcilerFailed(_logger, e);
            }
            try
            {
                await _wake.WaitAsync(next, cancellationToken);
            }
            catch (OperationCanceledException)
            {
                break;
            }
        }
        _launcher.LaunchEnded -= LookForTheNext;
        _state.CameUp -= _wake.Set;
    }

    /// <summary>Writes down how far all schedules are settled; called at a stop.</summary>
    public ValueTask WriteSettledAsync(CancellationToken cancellationToken) => _settler.WriteAsync(_schedules, cancellationToken);

    /// <summary>Lets it look now. Thread-safe.</summary>
    public void Wake() => _wake.Set();

    public void Dispose() => _wake.Dispose();

    /// <summary>One look at everything.</summary>
    /// <returns>When to look again at the latest.</returns>
    internal async ValueTask<TimeSpan> PassAsync(IScheduler scheduler, CancellationToken cancellationToken)
    {
        var now = _time.GetUtcNow();
        // Asked after the time was read: a clock that is set in between is noticed.
        if (_clock.Problem is not null)
        {
            return _pace.NextLook();
        }
        if (_clock.TakeSetBack())
        {
            await TriggerAlignment.AlignAsync(scheduler, _jobs, _time, _logger, cancellationToken);
        }
        var candidates = new List<Launch>();
        // What becomes due before the next look is wanted, too: some look again just then.
        var query = new OpenRunsQuery(now + _pace.LookInterval, _openCursor);
        var (open, cursor) = await _state.CallAsync((s, token) => s.Runs.OpenRunsAsync(query, token), cancellationToken);
        _openCursor = cursor;
        _metrics.Orphaned(open.Count(run => run.State == RunState.Orphaned));
        var soonest = _running.Look(open, run => _pace.IsNear(OccurrenceOf(run)));
        foreach (var run in open)
        {
            var due = run.State switch
            {
                RunState.Waiting => IsItsTime(run, now, ref soonest),
                RunState.Running => _running.IsOld(run.Id),
                _ => true,
            };
            if (due && !_pipeline.IsRunning(run.Id) && await HasJobAsync(scheduler, run.Job, cancellationToken))
            {
                candidates.Add(new Launch(OccurrenceOf(run), run.LockKey, run.Id, run.Data, Why(run), run.State == RunState.Running));
            }
            else if (due && run.State != RunState.Orphaned && _jobs.Find(run.Job) is null && _order.NobodyElseHas(run.Job))
            {
                await OrphanAsync(run, cancellationToken);
            }
        }
        if (_settleNow || _time.GetElapsedTime(_lastSettling) >= _pace.SettleInterval)
        {
            _settleNow = false;
            _lastSettling = _time.GetTimestamp();
            await _launcher.MendAsync(scheduler, _jobs, cancellationToken);
            candidates.AddRange(await _settler.SettleAsync(_schedules, now - _clock.MaxOffset, cancellationToken));
        }
        var next = await LaunchAsync(scheduler, candidates, cancellationToken);
        return soonest < next ? soonest : next;
    }

    // Those that come first for a run look when its time comes, the others at their next look: one attempt needs no crowd.
    private bool IsItsTime(RunRecord run, DateTimeOffset now, ref TimeSpan soonest)
    {
        if (run.NextAttemptAt - now is not { } left || left <= TimeSpan.Zero)
        {
            return true;
        }
        soonest = left < soonest && _pace.IsNear(OccurrenceOf(run)) ? left : soonest;
        return false;
    }

    // Also of a job that only a replica had which is dead: it would seem to run for ever.
    private async ValueTask OrphanAsync(RunRecord run, CancellationToken cancellationToken)
    {
        if (run.State == RunState.Running && await _locks.ReadAsync(run.LockKey, cancellationToken) is not null)
        {
            return;
        }
        if (await _state.CallAsync((s, token) => s.Runs.OrphanAsync(run.Id, run.Token, token), cancellationToken))
        {
            JobLog.Orphaned(_logger, OccurrenceOf(run), run.Id);
        }
    }

    // What was missed is made up for one after another, not one a second, and takes a key that comes free before the next due time does.
    private void LookForTheNext()
    {
        _settleNow = true;
        _wake.Set();
    }

    // A job may have come to Quartz after the start and not have fired here yet.
    private async ValueTask<bool> HasJobAsync(IScheduler scheduler, string job, CancellationToken cancellationToken)
    {
        if (_jobs.Find(job) is null && (_lastLearning == 0 || _time.GetElapsedTime(_lastLearning) >= LearnInterval))
        {
            _lastLearning = _time.GetTimestamp();
            await _jobs.LearnAsync(scheduler, cancellationToken);
        }
        return _jobs.Find(job) is not null;
    }

    // One at a time under a key, the oldest first; a key that is held is looked at again when it is released or would expire.
    private async ValueTask<TimeSpan> LaunchAsync(IScheduler scheduler, List<Launch> candidates, CancellationToken cancellationToken)
    {
        var next = _pace.NextLook();
        _holds.Sweep();
        _watched = [.. candidates.Where(c => _pace.IsNear(c.Occurrence)).Select(c => c.LockKey)];
        foreach (var byKey in candidates.GroupBy(c => c.LockKey))
        {
            if (_launcher.IsInFlight(byKey.Key))
            {
                continue;
            }
            var launch = byKey.MinBy(c => c.Occurrence.ScheduledAt)!;
            if (byKey.All(c => c.IsTakeOver) && _holds.Left(byKey.Key) is { } left)
            {
                next = left < next ? left : next;
                continue;
            }
            if (await _locks.ReadAsync(byKey.Key, cancellationToken) is { } held)
            {
                // A grant that is over may be shown until somebody sweeps it.
                var end = held.Remaining + _pace.AfterEnd(launch.Occurrence);
                next = TimeSpan.FromTicks(Math.Clamp(end.Ticks, GroupPace.AfterExpiry.Ticks, next.Ticks));
                if (!_locks.Traits.HostLocal)
                {
                    _holds.Note(byKey.Key, end);
                }
                await RecordWaitingAsync(byKey, held.Purpose, cancellationToken);
                continue;
            }
            if (_jobs.Find(launch.Occurrence.Job) is { } policy)
            {
                await _launcher.LaunchAsync(scheduler, policy.Key, launch, cancellationToken);
            }
        }
        return next;
    }

    // What finds its key held for something else than its own trigger is not missed, however long that takes. One of each trigger waits;
    // what comes due behind it goes by the policies.
    private async ValueTask RecordWaitingAsync(IEnumerable<Launch> sameKey, string purpose, CancellationToken cancellationToken)
    {
        foreach (var ofTrigger in sameKey.GroupBy(c => (c.Occurrence.Job, c.Occurrence.Trigger)))
        {
            if (
                ofTrigger.Any(c => c.RunId is not null) || purpose.StartsWith(ofTrigger.First().Occurrence.Prefix, StringComparison.Ordinal)
            )
            {
                continue;
            }
            var (occurrence, key, _, data, _, _) = ofTrigger.MinBy(c => c.Occurrence.ScheduledAt)!;
            await _state.CallAsync(
                (s, token) => s.Runs.RecordWaitingAsync(occurrence, key, data, _time.GetUtcNow(), token),
                cancellationToken
            );
            JobLog.Waits(_logger, occurrence, key, purpose);
        }
    }

    private static Occurrence OccurrenceOf(RunRecord run) => new(run.Job, run.Trigger, run.ScheduledAt);

    private static string Why(RunRecord run) =>
        run.State switch
        {
            RunState.Waiting when run.Attempt > 0 => $"attempt {run.Attempt} on {run.Replica} failed",
            RunState.Waiting when run.IsScheduled => "its key was held when it was due",
            RunState.Waiting => "it was asked for",
            RunState.Interrupted => $"attempt {run.Attempt} on {run.Replica} was interrupted",
            RunState.Orphaned => "no replica had its job",
            _ => $"attempt {run.Attempt} on {run.Replica} ended without a word",
        };
}
