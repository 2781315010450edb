using System.Data.Common;
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

    /// <summary>Makes the empty place.</summary>
    public virtual Task StartAsync() => Task.CompletedTask;

    public abstract IState Make(string group);

    /// <summary>The place as an application opens it that has its tables beside the State's.</summary>
    public abstract DbDataSource OpenBeside();

    /// <summary>What the clock of the State shows.</summary>
    public virtual DateTimeOffset StateClock => Time.GetUtcNow();

    /// <summary>Lets time pass by the clock that ages members and events.</summary>
    public virtual Task AgeAsync(TimeSpan by)
    {
        Time.Advance(by);
        return Task.CompletedTask;
    }

    /// <summary>Writes version and oldest reader of the schema, relative to this build's.</summary>
    public abstract Task SetSchemaAsync(int versionAbove, int minReaderAbove);

    public abstract ValueTask DisposeAsync();
}
