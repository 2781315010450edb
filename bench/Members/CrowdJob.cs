using System.Collections.Concurrent;
using Quartz;
using Scheduler.Jobs;

namespace Scheduler.Bench.Members;

/// <summary>One body that ran.</summary>
/// <param name="Job">Whose.</param>
/// <param name="Due">Its scheduled time.</param>
/// <param name="Replica">The number of the replica that ran it.</param>
/// <param name="Late">How long after the scheduled time it began, by the one clock of the machine, which is the servers' too.</param>
internal sealed record CrowdBody(string Job, DateTimeOffset Due, int Replica, TimeSpan Late);

/// <summary>The bodies of all replicas. Thread-safe.</summary>
internal sealed class CrowdLog
{
    private readonly ConcurrentQueue<CrowdBody> _bodies = new();

    public IReadOnlyCollection<CrowdBody> All => _bodies;

    public void Add(CrowdBody body) => _bodies.Enqueue(body);
}

/// <summary>Which replica a body is on.</summary>
/// <param name="Number">Its number.</param>
/// <param name="Log">Where its bodies go.</param>
/// <param name="Relief">Ends the bodies that only occupy its worker slots.</param>
internal sealed record CrowdMember(int Number, CrowdLog Log, TaskCompletionSource Relief);

/// <summary>Does nothing but say that it ran.</summary>
[SingleInstance(CatchUp = CatchUp.All)]
internal sealed class CrowdJob(CrowdMember member) : IJob
{
    public ValueTask Execute(IJobExecutionContext context, CancellationToken cancellationToken = default)
    {
        var due = context.ScheduledFireTimeUtc!.Value;
        member.Log.Add(new CrowdBody(context.JobDetail.Key.Name, due, member.Number, TimeProvider.System.GetUtcNow() - due));
        return ValueTask.CompletedTask;
    }
}

/// <summary>Occupies a worker slot of its replica.</summary>
[EveryReplica]
internal sealed class OccupyingJob(CrowdMember member) : IJob
{
    public async ValueTask Execute(IJobExecutionContext context, CancellationToken cancellationToken = default) =>
        await member.Relief.Task.WaitAsync(cancellationToken);
}
