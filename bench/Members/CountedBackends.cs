using System.Reflection;
using Scheduler.Hosting;
using Scheduler.Locking;
using Scheduler.Runs;
using Scheduler.Testing;

namespace Scheduler.Bench.Members;

/// <summary>Gives a replica its backends with the counts before them.</summary>
internal sealed class CountedBackends(IBackendBuilder inner, CallCounts state, CallCounts locks, Func<MethodInfo, object?[], string> nameOf)
    : IBackendBuilder
{
    public void SetLeaseStore(Func<IServiceProvider, BackendContext, ILeaseStore> factory) =>
        inner.SetLeaseStore((services, context) => CountedCalls.Wrap(factory(services, context), locks));

    public void SetState(Func<IServiceProvider, BackendContext, IState> factory) =>
        inner.SetState((services, context) => CountedCalls.Wrap(factory(services, context), state, nameOf));
}
