using Scheduler.Locking;
using Scheduler.Sqlite.Files;

namespace Scheduler.Sqlite.Leases;

/// <summary>
/// What the thread of a <see cref="LeaseQueue"/> works with: the writer lock, the connection under it, and this replica's own lock
/// file. Opens them when they are needed and anew after a failure. Not thread-safe, but for <see cref="Use"/>.
/// </summary>
internal sealed class LeaseSession(LeaseFiles files, HostClock clock, string group, string replica, TimeSpan longestLease) : IDisposable
{
    private readonly ReplicaLocks _replicas = new(files.Replicas);
    private FileLock? _writerLock;
    private LeaseDatabase? _database;
    private LeaseTable? _table;
    private bool _joined;
    private bool _hadDatabase;

    /// <summary>What was last said of the store's past.</summary>
    public LockStoreUse Use { get; set; }

    /// <summary>The leases of dead replicas that the last transaction gave to others.</summary>
    public IReadOnlyList<(string Key, string Replica)> Broken => _table?.Broken ?? [];

    /// <summary>Runs operations in one transaction; none has happened when it throws, unless the commit itself failed.</summary>
    public void Run(IReadOnlyList<LeaseOperation> batch)
    {
        Enter();
        try
        {
            var table = Open();
            _database!.Begin();
            table.Begin();
            foreach (var operation in batch)
            {
                operation.Run(table);
            }
            table.Flush();
            _database.Commit();
            table.RemoveDead();
        }
        catch
        {
            // Whatever it was, a new connection rolls back and starts from what is in the file.
            Close();
            throw;
        }
        finally
        {
            _writerLock!.Unlock();
        }
    }

    /// <summary>
    /// Closes the files. While grants of this replica are left, a body may still run: the replica's lock then stays until the process
    /// ends or is killed, and the grants last until that or their time.
    /// </summary>
    public void Dispose()
    {
        if (_writerLock is null)
        {
            return;
        }
        _writerLock.Lock();
        try
        {
            var keep = _joined && HasGrants();
            Close();
            if (_joined)
            {
                _replicas.Leave(replica, keep);
            }
        }
        finally
        {
            _writerLock.Dispose();
        }
    }

    private void Enter()
    {
        if (_writerLock is null)
        {
            files.Prepare();
            _writerLock = FileLock.Open(files.WriterLock);
        }
        _writerLock.Lock();
    }

    private LeaseTable Open()
    {
        // A file that was deleted would go on working here, unseen by the replicas that open its successor.
        if (_database is not null && !File.Exists(files.Database))
        {
            Close();
            throw new StoreUnavailableException(
                $"The file of the SQLite locks '{files.Database}' was deleted while in use; it is made anew. Leave it to the replicas."
            );
        }
        if (_table is not null)
        {
            return _table;
        }
        files.Prepare();
        var forgot = _hadDatabase || Use == LockStoreUse.Used;
        var database = _database = new LeaseDatabase(
            files,
            created => LeaseTable.HoldGrants(created, clock, forgot ? longestLease : TimeSpan.Zero)
        );
        _hadDatabase = true;
        if (!_joined && !_replicas.Take(replica))
        {
            throw new StoreUnavailableException(
                $"Another process uses the SQLite locks '{files.Database}' as replica '{replica}'. Each process needs an identity of its "
                    + "own (ReplicaIdentity.Create).",
                permanent: true
            );
        }
        _joined = true;
        return _table = new LeaseTable(database, _replicas, clock, group);
    }

    private bool HasGrants()
    {
        try
        {
            return Open().HasGrants(replica);
        }
        catch (Exception problem) when (problem is Microsoft.Data.Sqlite.SqliteException or IOException or StoreUnavailableException)
        {
            // Not known, so assumed.
            return true;
        }
    }

    private void Close()
    {
        _database?.Dispose();
        _database = null;
        _table = null;
    }
}
