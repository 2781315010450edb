using Microsoft.Extensions.Logging.Abstractions;
using Scheduler.Hosting;
using Scheduler.Locking;
using Scheduler.Runs;
using Scheduler.Testing;

namespace Scheduler.Tests.Conformance;

/// <summary>One empty place where States are kept, for one test.</summary>
public abstract class StateFixture : IAsyncDisposable
{
    public FakeTime Time { get; } = new();

    public BackendContext Context(string group) =>
        new(group, ReplicaIdentity.Create("test"), new LeaseOptions(), Time, NullLoggerFactory.Instance);

    public abstract IState Make(string group);

    /// <summary>Writes version and oldest reader of the schema, relative to this build's.</summary>
    public abstract Task SetSchemaAsync(int versionAbove, int minReaderAbove);

    public abstract ValueTask DisposeAsync();
}
