using System.Collections.Concurrent;
using Scheduler.Locking;
using Scheduler.Locking.InMemory;
using Scheduler.Testing;

namespace Scheduler.Tests.Conformance;

[LeaseStoreFixture(typeof(InMemoryLeaseStore))]
public sealed class MemoryFixture : ILeaseStoreFixture
{
    private readonly InMemoryLeaseServer _server = new();
    private readonly ConcurrentBag<FaultyLeaseStore> _stores = [];

    public bool CanRestartServer => true;

    public ILeaseStore CreateStore(string group, ReplicaIdentity replica, TimeProvider clientTime)
    {
        var store = new FaultyLeaseStore(new InMemoryLeaseStore(_server, group));
        _stores.Add(store);
        return store;
    }

    public Task StopServerAsync() => AllAsync(store => store.RefuseWith = "The server is stopped.");

    public Task StartServerAsync() => AllAsync(store => store.Heal());

    public ValueTask InitializeAsync() => ValueTask.CompletedTask;

    public ValueTask DisposeAsync() => ValueTask.CompletedTask;

    private Task AllAsync(Action<FaultyLeaseStore> change)
    {
        _stores.ToList().ForEach(change);
        return Task.CompletedTask;
    }
}

public sealed class MemoryConformance(MemoryFixture fixture) : LeaseStoreConformance<MemoryFixture>(fixture);
