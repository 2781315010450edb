using Scheduler.Hosting;
using Scheduler.Leases;
using Scheduler.Locking;
using Scheduler.Postgres.Leases;
using Scheduler.Postgres.Signals;
using Scheduler.Testing;
using Scheduler.Testing.Servers;
using Scheduler.Tests.Conformance;

namespace Scheduler.Tests.Postgres;

/// <summary>A database with leases in it, and replicas that use them.</summary>
internal sealed class LeaseDatabase : IAsyncDisposable
{
    public static readonly TimeSpan Long = TimeSpan.FromSeconds(30);

    private readonly List<IAsyncDisposable> _toDispose = [];

    private LeaseDatabase(PostgresDatabase database) => Database = database;

    public PostgresDatabase Database { get; }

    public LogCapture Log { get; } = new();

    private static CancellationToken Stop => TestContext.Current.CancellationToken;

    /// <summary>On the server that is shared by the tests, or on one's own.</summary>
    public static async Task<LeaseDatabase> CreateAsync(PostgresServer? server = null) => new(await PostgresDatabase.CreateAsync(server));

    public PostgresLeaseStore Store(
        string? connectionString = null,
        string? listening = null,
        LeaseOptions? options = null,
        ReplicaIdentity? replica = null,
        string schema = PostgresLeaseStore.DefaultSchema,
        TimeProvider? time = null
    )
    {
        var context = new BackendContext(
            "test",
            replica ?? ReplicaIdentity.Create("replica"),
            options ?? new LeaseOptions(),
            time ?? TimeProvider.System,
            Log
        );
        var times = new ListenerTimes { FirstPause = TimeSpan.FromMilliseconds(50), BetweenTests = TimeSpan.FromMilliseconds(100) };
        var store = new PostgresLeaseStore(context, connectionString ?? Database.ConnectionString, schema, listening, times);
        _toDispose.Add(store);
        return store;
    }

    /// <summary>A replica that is checked and ready.</summary>
    public async Task<StoreClient> ConnectAsync(
        string? connectionString = null,
        string? listening = null,
        LeaseOptions? options = null,
        TimeProvider? time = null
    )
    {
        var replica = ReplicaIdentity.Create("replica");
        var store = Store(connectionString, listening, options, replica, time: time);
        await store.CheckAsync(LockStoreUse.Unused, Stop);
        return new StoreClient(store, replica, Stop);
    }

    /// <summary>A replica as Core runs it.</summary>
    public async Task<LockProvider> StartAsync(PacedTime time, LeaseOptions? options = null)
    {
        var replica = ReplicaIdentity.Create("replica");
        options ??= new LeaseOptions();
        var store = Store(options: options, replica: replica, time: time);
        var locks = new LockProvider(store, options, replica, time, Log, new NewStore());
        _toDispose.Add(locks);
        await locks.StartAsync(Stop);
        return locks;
    }

    public async ValueTask DisposeAsync()
    {
        foreach (var item in Enumerable.Reverse(_toDispose))
        {
            await item.DisposeAsync();
        }
        await Database.DisposeAsync();
    }
}
