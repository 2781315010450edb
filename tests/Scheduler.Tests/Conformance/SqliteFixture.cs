using Microsoft.Extensions.Logging.Abstractions;
using Scheduler.Hosting;
using Scheduler.Locking;
using Scheduler.Sqlite.Leases;

namespace Scheduler.Tests.Conformance;

[LeaseStoreFixture(typeof(SqliteLeaseStore))]
public sealed class SqliteFixture : ILeaseStoreFixture
{
    private readonly DirectoryInfo _folder = Directory.CreateTempSubdirectory("sqlite-conformance-");

    public ILeaseStore CreateStore(string group, ReplicaIdentity replica, TimeProvider clientTime) =>
        new SqliteLeaseStore(
            new BackendContext(group, replica, new LeaseOptions(), clientTime, NullLoggerFactory.Instance),
            $"Data Source={Path.Combine(_folder.FullName, "data", "locks.db")}"
        );

    public ValueTask InitializeAsync() => ValueTask.CompletedTask;

    public ValueTask DisposeAsync()
    {
        _folder.Delete(recursive: true);
        return ValueTask.CompletedTask;
    }
}

public sealed class SqliteConformance(SqliteFixture fixture) : LeaseStoreConformance<SqliteFixture>(fixture);
