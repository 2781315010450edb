using Scheduler.Locking;
using Scheduler.Testing;

namespace Scheduler.Tests.Conformance;

/// <summary>
/// What every lease store must do, run against its real server or files: first at the port, then through Core's lock provider.
/// One file per rule of DESIGN section 4. Clocks of replicas are test clocks; the server's expiry is real.
/// </summary>
public abstract partial class LeaseStoreConformance<TFixture>(TFixture fixture) : IClassFixture<TFixture>, IAsyncLifetime
    where TFixture : class, ILeaseStoreFixture
{
    /// <summary>A lease whose end a test waits for.</summary>
    private static readonly TimeSpan Short = TimeSpan.FromMilliseconds(200);

    /// <summary>A lease that outlasts every test.</summary>
    private static readonly TimeSpan Long = TimeSpan.FromSeconds(30);

    private static readonly LockKey Key = LockKey.From("job:settle");

    private readonly List<IAsyncDisposable> _toDispose = [];
    private readonly PacedTime _clientTime = new();

    private TFixture Fixture { get; } = fixture;

    /// <summary>New for each test, so that no test sees another's keys.</summary>
    private string Group { get; } = $"test-{Guid.NewGuid():n}";

    private static CancellationToken Stop => TestContext.Current.CancellationToken;

    public ValueTask InitializeAsync() => ValueTask.CompletedTask;

    public async ValueTask DisposeAsync()
    {
        GC.SuppressFinalize(this);
        foreach (var item in Enumerable.Reverse(_toDispose))
        {
            await item.DisposeAsync();
        }
        await _clientTime.DisposeAsync();
    }

    /// <summary>A new replica with its own client, checked and ready.</summary>
    private async Task<StoreClient> ConnectAsync(string? group = null, ReplicaIdentity? replica = null)
    {
        replica ??= ReplicaIdentity.Create("replica");
        var store = Fixture.CreateStore(group ?? Group, replica, _clientTime);
        _toDispose.Add(store);
        await store.CheckAsync(Fixture.Use, Stop);
        return new StoreClient(store, replica, Stop);
    }

    private async Task<(StoreClient First, StoreClient Second)> ConnectTwoAsync() => (await ConnectAsync(), await ConnectAsync());
}
