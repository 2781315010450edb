using Microsoft.Extensions.Logging;
using Quartz;
using Scheduler.Jobs.Clocks;
using Scheduler.Jobs.Reconciliation;
using Scheduler.Jobs.Telemetry;
using Scheduler.Runs;

namespace Scheduler.Jobs.Preference;

/// <summary>
/// Occurrences that this replica left to another one: a short while after they were due it looks whether they have a row, and runs
/// those that have none. Outside of Quartz's worker slots, many with one question. What is not run here either is found by the
/// reconciler. <see cref="Add"/> is thread-safe.
/// </summary>
internal sealed class StandBy : IDisposable
{
    /// <summary>Which replicas look: those at the places 1 to this, place 0 fires. The others leave it to the reconciler.</summary>
    public const int LastPlace = 2;

    /// <summary>How long after the one before it a replica looks.</summary>
    public static readonly TimeSpan Step = TimeSpan.FromMilliseconds(50);

    private const int MostWaiting = 10_000;

    private readonly StateGuard _state;
    private readonly RunLauncher _launcher;
    private readonly RunPipeline _pipeline;
    private readonly JobCatalog _jobs;
    private readonly TimeProvider _time;
    private readonly ClockGuard _clock;
    private readonly ILogger _logger;
    private readonly WakeSignal _wake;
    private readonly Lock _gate = new();
    private readonly PriorityQueue<Launch, long> _waiting = new();

    public StandBy(
        StateGuard state,
        RunLauncher launcher,
        RunPipeline pipeline,
        JobCatalog jobs,
        TimeProvider time,
        ClockGuard clock,
        ILogger<StandBy> logger
    )
    {
        (_state, _launcher, _pipeline) = (state, launcher, pipeline);
        (_jobs, _time, _clock, _logger) = (jobs, time, clock, logger);
        _wake = new WakeSignal(time);
    }

    /// <summary>Leaves an occurrence to those before this replica.</summary>
    /// <param name="launch">What to run if nobody does. With too many waiting already it is the reconciler's.</param>
    /// <param name="place">This replica's place, 1 or more.</param>
    public void Add(Launch launch, int place)
    {
        if (place > LastPlace)
        {
            return;
        }
        var turn = launch.Occurrence.ScheduledAt + (place * Step);
        if (Enqueue(launch, turn - _time.GetUtcNow()))
        {
            _wake.Set();
        }
    }

    /// <summary>Runs until cancelled.</summary>
    public async Task RunAsync(IScheduler scheduler, CancellationToken cancellationToken)
    {
        var slots = (await scheduler.GetMetadata(cancellationToken)).ThreadPoolSize;
        while (!cancellationToken.IsCancellationRequested)
        {
            try
            {
                await LookAsync(scheduler, slots, cancellationToken);
                await _wake.WaitAsync(UntilNext(), cancellationToken);
            }
            catch (OperationCanceledException) when (cancellationToken.IsCancellationRequested)
            {
                return;
            }
            catch (StateUnavailableException)
            {
                // No body runs without a claim; the reconciler finds what is missing when State is back.
            }
#pragma warning disable CA1031 // A defect in one look must not end the others for the life of the process; it is logged as an error.
            catch (Exception e)
#pragma warning restore CA1031
            {
                JobLog.ReconcilerFailed(_logger, e);
            }
        }
    }

    public void Dispose() => _wake.Dispose();

    private async ValueTask LookAsync(IScheduler scheduler, int slots, CancellationToken cancellationToken)
    {
        var due = TakeDue();
        if (due.Count == 0 || _clock.Problem is not null)
        {
            return;
        }
        // A replica without a free slot would only delay what the one before it has in its own queue.
        var free = slots - _pipeline.Running;
        if (free <= 0)
        {
            LookAgain(due);
            return;
        }
        List<OccurrenceRange> ranges = [.. due.Select(l => RangeOf(l.Occurrence))];
        var found = await _state.CallAsync((s, token) => s.Runs.OccurrencesAsync(ranges, token), cancellationToken);
        // What came due while another run of its trigger went on is overlapped, not missing, although its lock may be free by now.
        var missing = due.Zip(found).Where(p => Settlement.IsSurelyMissing(p.First.Occurrence.ScheduledAt, p.Second)).ToList();
        foreach (var (launch, _) in missing.Take(free))
        {
            if (_jobs.Find(launch.Occurrence.Job) is { } policy)
            {
                await _launcher.LaunchAsync(scheduler, policy.Key, launch, cancellationToken);
            }
        }
        LookAgain(missing.Skip(free).Select(p => p.First));
    }

    // Older ones are the reconciler's.
    private void LookAgain(IEnumerable<Launch> launches)
    {
        var oldest = _time.GetUtcNow() - _clock.MaxOffset;
        foreach (var launch in launches.Where(l => l.Occurrence.ScheduledAt > oldest))
        {
            Enqueue(launch, Step);
        }
    }

    // Whether it is the next one now.
    private bool Enqueue(Launch launch, TimeSpan after)
    {
        var ticks = Math.Max(0, after.Ticks) * _time.TimestampFrequency / TimeSpan.TicksPerSecond;
        lock (_gate)
        {
            if (_waiting.Count >= MostWaiting)
            {
                return false;
            }
            _waiting.Enqueue(launch, _time.GetTimestamp() + ticks);
            return _waiting.Peek() == launch;
        }
    }

    private List<Launch> TakeDue()
    {
        var now = _time.GetTimestamp();
        var due = new List<Launch>();
        lock (_gate)
        {
            while (due.Count < IRunLedger.MaxRanges && _waiting.TryPeek(out _, out var turn) && turn <= now)
            {
                due.Add(_waiting.Dequeue());
            }
        }
        return due;
    }

    private TimeSpan UntilNext()
    {
        lock (_gate)
        {
            if (!_waiting.TryPeek(out _, out var turn))
            {
                return Timeout.InfiniteTimeSpan;
            }
            var left = _time.GetElapsedTime(_time.GetTimestamp(), turn);
            // Timers have whole milliseconds.
            return left > TimeSpan.Zero ? TimeSpan.FromMilliseconds(Math.Ceiling(left.TotalMilliseconds)) : TimeSpan.Zero;
        }
    }

    private static OccurrenceRange RangeOf(Occurrence occurrence) =>
        new(occurrence.Job, occurrence.Trigger, occurrence.ScheduledAt - TimeSpan.FromMilliseconds(1), occurrence.ScheduledAt);
}
