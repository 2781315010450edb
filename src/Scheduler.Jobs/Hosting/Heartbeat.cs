using Microsoft.Extensions.Logging;
using Scheduler.Jobs.Clocks;
using Scheduler.Jobs.Preference;
using Scheduler.Jobs.Telemetry;
using Scheduler.Jobs.Versions;
using Scheduler.Leases;
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
    ClockGuard clock,
    LockProvider locks,
    SingleInstanceOptions options,
    GroupTime time,
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
                    await BeatAsync(cancellationToken);
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

    /// <summary>The first heartbeat: compares the clock before anything fires by it, and says what came of that.</summary>
    public async ValueTask JoinAsync(CancellationToken cancellationToken)
    {
        await BeatAsync(cancellationToken);
        await WriteAsync(cancellationToken);
    }

    /// <summary>Writes this replica's row now, and looks at those of the others and at the clock.</summary>
    public async ValueTask BeatAsync(CancellationToken cancellationToken)
    {
        var member = Member();
        var asked = time.GetTimestamp();
        var members = await state.CallAsync((s, t) => s.Members.HeartbeatAndListAsync(member, MemberWatch.Horizon, t), cancellationToken);
        clock.Observe(members, asked);
        _members.Observe(members.Items);
        order.Observe(members);
        paused.Observe(members);
        ObservePair(members);
        await versions.LookAsync(cancellationToken);
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

    private MemberRecord Member()
    {
        // Before the status: a clock that was set in between is then off by its own words.
        var reading = ClockReading.Take(time.Own);
        return new MemberRecord
        {
            Id = replica.Id,
            Name = replica.Name,
            StartedAt = _startedAt,
            WallClock = reading.Wall,
            BootClock = reading.Boot,
            OperationsUrl = options.OperationsUrl?.Invoke(),
            Jobs = [.. jobs.All.Select(j => j.Job).Order(StringComparer.Ordinal)],
            LockStore = locks.StoreInUse,
            Status = status.Activity,
        };
    }

    /// <summary>A replica that slept while the group changed its lock store must not go on with the former one.</summary>
    private void ObservePair(MemberList members)
    {
        if (members.LockStore is { } paired && locks is { Health.IsUp: true, Traits.IsEphemeral: false, Info.Id: var own } && own != paired)
        {
            locks.CheckAgain($"The group's State is paired with the lock store {paired} now, and this replica's is {own}.");
        }
    }
}
