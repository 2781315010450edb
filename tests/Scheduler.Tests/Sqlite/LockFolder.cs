using Microsoft.Extensions.Logging.Abstractions;
using Scheduler.Hosting;
using Scheduler.Locking;
using Scheduler.Sqlite.Leases;
using Scheduler.Testing;
using Scheduler.Tests.Conformance;
using Scheduler.Time;

namespace Scheduler.Tests.Sqlite;

/// <summary>A temporary folder with a lock file in it, and stores that use it. Removed at the end.</summary>
internal sealed class LockFolder : IAsyncDisposable
{
    private readonly DirectoryInfo _folder = Directory.CreateTempSubdirectory("sqlite-locks-");
    private readonly List<SqliteLeaseStore> _stores = [];

    public string Folder => _folder.FullName;

    public string File => Path.Combine(Folder, "data", "locks.db");

    public string ReplicaFile(ReplicaIdentity replica) => Path.Combine(File + ".replicas", replica.Id + ".lock");

    public SqliteLeaseStore Store(ReplicaIdentity? replica = null, HostClock? clock = null, string? file = null)
    {
        var context = new BackendContext(
            "test",
            replica ?? ReplicaIdentity.Create("replica"),
            new LeaseOptions(),
            new FakeTime(),
            NullLoggerFactory.Instance
        );
        var store = new SqliteLeaseStore(context, $"Data Source={file ?? File}", clock ?? HostClock.Read());
        _stores.Add(store);
        return store;
    }

    public async Task<StoreClient> ConnectAsync(HostClock? clock = null)
    {
        var replica = ReplicaIdentity.Create("replica");
        var store = Store(replica, clock);
        await store.CheckAsync(LockStoreUse.Unknown, TestContext.Current.CancellationToken);
        return new StoreClient(store, replica, TestContext.Current.CancellationToken);
    }

    /// <summary>A clock of this host after a reboot.</summary>
    public static HostClock OtherBoot() => new(Guid.NewGuid().ToString(), BootTimeProvider.Instance);

    public async ValueTask DisposeAsync()
    {
        foreach (var store in _stores)
        {
            await store.DisposeAsync();
        }
        _folder.Delete(recursive: true);
    }
}
