using Scheduler.Runs;

namespace Scheduler.Jobs.Hosting;

/// <summary>Who this replica is and what it has.</summary>
/// <param name="Group">The group's name.</param>
/// <param name="Replica">This process.</param>
/// <param name="Jobs">The jobs that were defined for it; Quartz may have more.</param>
internal sealed record GroupContext(string Group, ReplicaIdentity Replica, IReadOnlyList<JobDefinition> Jobs);

/// <summary>The guarded State, or none.</summary>
/// <param name="Guard">The guard; <see langword="null"/> without State.</param>
internal sealed record StateHolder(StateGuard? Guard) : IAsyncDisposable
{
    public ValueTask DisposeAsync() => Guard?.DisposeAsync() ?? ValueTask.CompletedTask;
}
