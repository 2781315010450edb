using Microsoft.Extensions.Logging;
using Scheduler.Locking;
using Scheduler.Runs;

namespace Scheduler.Hosting;

/// <summary>What every backend is given when it is made.</summary>
/// <param name="Group">The replicas that form one scheduler; stands before every key, channel and path and in every row.</param>
/// <param name="Replica">This process.</param>
/// <param name="Leases">The times of leases.</param>
/// <param name="Time">The clocks; the monotonic one counts suspend.</param>
/// <param name="Loggers">Where backends log to.</param>
public sealed record BackendContext(string Group, ReplicaIdentity Replica, LeaseOptions Leases, TimeProvider Time, ILoggerFactory Loggers);

/// <summary>Where an application says which backends it uses; each backend's project adds its <c>Use…</c> method to it.</summary>
public interface IBackendBuilder
{
    /// <summary>Sets the lock store. The last call counts.</summary>
    /// <param name="factory">Makes the store without contacting it; called once per process.</param>
    void SetLeaseStore(Func<IServiceProvider, BackendContext, ILeaseStore> factory);

    /// <summary>Sets the State. The last call counts; without one there is none.</summary>
    /// <param name="factory">Makes the State without contacting it; called once per process.</param>
    void SetState(Func<IServiceProvider, BackendContext, IState> factory);
}
