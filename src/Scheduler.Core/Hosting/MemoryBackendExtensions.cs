using Scheduler.Locking.InMemory;

namespace Scheduler.Hosting;

/// <summary>Keeps leases in the memory of this process.</summary>
public static class MemoryBackendExtensions
{
    /// <summary>Uses the lock store <c>memory</c>: for tests and for a single replica, because other processes do not see it.</summary>
    /// <param name="builder">The application's choice of backends.</param>
    /// <param name="server">Shared by replicas within one process, as in tests; default: one of its own for each host.</param>
    /// <returns>The same builder.</returns>
    public static IBackendBuilder UseMemory(this IBackendBuilder builder, InMemoryLeaseServer? server = null)
    {
        ArgumentNullException.ThrowIfNull(builder);
        builder.SetLeaseStore((_, context) => new InMemoryLeaseStore(server ?? new InMemoryLeaseServer(context.Time), context.Group));
        return builder;
    }
}
