using Microsoft.Extensions.Logging;
using Scheduler.Jobs.Preference;
using Scheduler.Jobs.Telemetry;
using Scheduler.Jobs.Versions;
using Scheduler.Runs;

namespace Scheduler.Jobs.Hosting;

/// <summary>Tells the group that this replica lives, every two seconds, and the log who else does.</summary>
internal sealed class Heartbeat(
    StateGuard state,
    ReplicaIdentity replica,
    JobCatalog jobs,
    ReplicaStatus status,
    ReplicaOrder order,
    PausedJobs paused,
    VersionWatch versions,
    SingleInstanceOptions options,
    TimeProvider time,
    ILogger<Heartbeat> logger
)
{
    /// <summary>The time between two heartbeats.</summary>
    public static readonly TimeSpan Interval = TimeSpan.FromSeconds(2);

    private readonly DateTimeOffset _startedAt = time.GetUtcNow();
    private readonly MemberWatch _members = new(replica, Interval, time, logger);

    /// <summary>Runs until cancelled.</summary>
    public async Task RunAsync(CancellationToken cancellationToken)
    {
        var told = false;
        // Replicas that started together go on at different times.
        var pause = Interval * (1 - (0.5 * Random.Shared.NextDouble()));
        try
        {
            while (true)
            {
                try
                {
                    var asked = time.GetUtcNow();
                    var member = Member();
                    var members = await state.CallAsync(
                        (s, t) => s.Members.HeartbeatAndListAsync(member, MemberWatch.Horizon, t),
                        cancellationToken
                    );
                    _members.Observe(members.Items);
                    order.Observe(members, asked);
                    paused.Observe(members);
                    await versions.LookAsync(cancellationToken);
                    told = false;
                }
#pragma warning disable CA1031 // A heartbeat that ended for one failure would make a living replica look dead.
                catch (Exception e) when (e is not OperationCanceledException || !cancellationToken.IsCancellationRequested)
#pragma warning restore CA1031
                {
                    if (!told)
                    {
                        JobLog.HeartbeatFailed(logger, e.Message);
                    }
                    told = true;
                }
                await Task.Delay(pause, time, cancellationToken);
                pause = Interval;
            }
        }
        catch (OperationCanceledException)
        {
            // The replica stops; the lifecycle writes the last word.
        }
    }

    /// <summary>Writes this replica's row now.</summary>
    public ValueTask WriteAsync(CancellationToken cancellationToken)
    {
        var member = Member();
        return state.CallAsync((s, token) => s.Members.HeartbeatAsync(member, token), cancellationToken);
    }

    /// <summary>Takes this replica off the list.</summary>
    public ValueTask LeaveAsync(CancellationToken cancellationToken) =>
        state.CallAsync((s, token) => s.Members.LeaveAsync(replica.Id, token), cancellationToken);

    private MemberRecord Member() =>
        new()
        {
            Id = replica.Id,
            Name = replica.Name,
            StartedAt = _startedAt,
            WallClock = time.GetUtcNow(),
            BootClock = TimeSpan.FromSeconds(time.GetTimestamp() / (double)time.TimestampFrequency),
            OperationsUrl = options.OperationsUrl?.Invoke(),
            Jobs = [.. jobs.All.Select(j => j.Job).Order(StringComparer.Ordinal)],
            Status = status.Activity,
        };
}
