using Quartz;
using Scheduler.Jobs.Preference;
using Scheduler.Jobs.Reconciliation;
using Scheduler.Runs;

namespace Scheduler.Jobs.Hosting;

/// <summary>The loops that a replica with State has beside its jobs: heartbeat, reconciler and stand-by. Without State there are
/// none.</summary>
internal sealed class GroupLoops(Reconciler? reconciler, StandBy? standBy, Heartbeat? heartbeat) : IDisposable
{
    private readonly CancellationTokenSource _stopReconciling = new();
    private readonly CancellationTokenSource _stopHeartbeat = new();
    private Task _reconciling = Task.CompletedTask;
    private Task _standingBy = Task.CompletedTask;
    private Task _beating = Task.CompletedTask;

    /// <summary>Takes the place among the members, so that the clock is compared before anything fires by it; as far as State
    /// answers.</summary>
    public ValueTask JoinAsync(CancellationToken cancellationToken) =>
        TryAsync(heartbeat is null ? null : heartbeat.JoinAsync, cancellationToken);

    /// <summary>Starts them.</summary>
    public void Start(IScheduler scheduler, IReadOnlyList<TrackedSchedule> schedules)
    {
        reconciler?.Track(schedules);
        _reconciling = Task.Run(() => reconciler?.RunAsync(scheduler, _stopReconciling.Token) ?? Task.CompletedTask);
        _standingBy = Task.Run(() => standBy?.RunAsync(scheduler, _stopReconciling.Token) ?? Task.CompletedTask);
        _beating = Task.Run(() => heartbeat?.RunAsync(_stopHeartbeat.Token) ?? Task.CompletedTask);
    }

    /// <summary>Lets the reconciler look now: there is something to run.</summary>
    public void Wake() => reconciler?.Wake();

    /// <summary>
    /// Ends reconciler and stand-by, so that a stopping replica takes over nothing; says in the list of members that it stops.
    /// </summary>
    public async ValueTask StopReconcilingAsync(CancellationToken cancellationToken)
    {
        await _stopReconciling.CancelAsync();
        // However it ended, and whether or not it ended in time, the bodies are waited for next.
        await Task.WhenAll(_reconciling, _standingBy).WaitAsync(cancellationToken).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        await TryAsync(reconciler is null ? null : reconciler.WriteSettledAsync, cancellationToken);
        await TryAsync(heartbeat is null ? null : heartbeat.WriteAsync, cancellationToken);
    }

    /// <summary>Ends the heartbeat and leaves the list of members; with runs that seem to go on, the last word stays there instead: that
    /// this replica stopped, so that they are not taken for crashed.</summary>
    public async ValueTask LeaveAsync(bool leavesRuns, CancellationToken cancellationToken)
    {
        await _stopHeartbeat.CancelAsync();
        await _beating.WaitAsync(cancellationToken).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        await TryAsync(
            heartbeat is null ? null
                : leavesRuns ? heartbeat.WriteAsync
                : heartbeat.LeaveAsync,
            cancellationToken
        );
    }

    public void Dispose()
    {
        _stopReconciling.Dispose();
        _stopHeartbeat.Dispose();
        reconciler?.Dispose();
    }

    private static async ValueTask TryAsync(Func<CancellationToken, ValueTask>? write, CancellationToken cancellationToken)
    {
        try
        {
            await (write?.Invoke(cancellationToken) ?? ValueTask.CompletedTask);
        }
        catch (Exception e) when (e is StateUnavailableException or OperationCanceledException)
        {
            // A stop does not wait for a State that is away: what was not written is found out again by the others.
        }
    }
}
