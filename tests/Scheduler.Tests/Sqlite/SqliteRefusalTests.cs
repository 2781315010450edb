using Microsoft.Data.Sqlite;
using Scheduler.Locking;
using Scheduler.Sqlite.Files;
using Scheduler.Sqlite.Leases;

namespace Scheduler.Tests.Sqlite;

/// <summary>What the SQLite locks refuse, and how they say it.</summary>
public sealed class SqliteRefusalTests : IAsyncDisposable
{
    private readonly LockFolder _files = new();

    private static CancellationToken Stop => TestContext.Current.CancellationToken;

    public ValueTask DisposeAsync() => _files.DisposeAsync();

    [Fact]
    public async Task A_newer_schema_is_refused_with_both_versions()
    {
        var client = await _files.ConnectAsync();
        await client.Store.DisposeAsync();
        Execute(_files.File, "PRAGMA user_version = 7");

        var problem = await RefusedAsync(_files.Store());

        Assert.Contains(_files.File, problem.Message, StringComparison.Ordinal);
        Assert.Contains("schema version 7", problem.Message, StringComparison.Ordinal);
        Assert.Contains($"version {LeaseDatabase.SchemaVersion} at most", problem.Message, StringComparison.Ordinal);
        Assert.True(problem.IsPermanent);
    }

    [Fact]
    public async Task A_database_of_something_else_is_refused_and_left_alone()
    {
        var file = Path.Combine(_files.Folder, "state.db");
        Execute(file, "CREATE TABLE runs (id TEXT)");

        var problem = await RefusedAsync(_files.Store(file: file));

        Assert.Contains($"'{file}' is a database of something else", problem.Message, StringComparison.Ordinal);
        Assert.True(problem.IsPermanent);
        Assert.Equal("delete", Execute(file, "PRAGMA journal_mode"));
    }

    [Fact]
    public async Task A_file_that_is_no_database_is_refused()
    {
        var file = Path.Combine(_files.Folder, "locks.db");
        await File.WriteAllTextAsync(file, string.Concat(Enumerable.Repeat("no database ", 100)), Stop);

        var problem = await RefusedAsync(_files.Store(file: file));

        Assert.Contains($"'{file}'", problem.Message, StringComparison.Ordinal);
        Assert.Contains("no intact SQLite database", problem.Message, StringComparison.Ordinal);
        Assert.True(problem.IsPermanent);
    }

    [Fact]
    public async Task A_folder_that_cannot_be_made_is_named_with_the_remedy()
    {
        var blocker = Path.Combine(_files.Folder, "file");
        await File.WriteAllTextAsync(blocker, "", Stop);
        var file = Path.Combine(blocker, "data", "locks.db");

        var store = _files.Store(file: file);
        var problem = await RefusedAsync(store);

        Assert.Contains($"'{file}'", problem.Message, StringComparison.Ordinal);
        Assert.Contains("write permission", problem.Message, StringComparison.Ordinal);
        Assert.Contains("Scheduler:Locks:ConnectionString", problem.Message, StringComparison.Ordinal);
        Assert.True(problem.IsPermanent);
        var request = new AcquireRequest(LockKey.From("k"), new LeaseOwner("r", 1), "test", TimeSpan.FromSeconds(1));
        var answer = Assert.IsType<AcquireResult.Unavailable>(await store.AcquireAsync(request, Stop));
        Assert.False(answer.OutcomeUnknown);
    }

    [Fact]
    public async Task A_database_that_is_a_folder_is_named_with_the_remedy()
    {
        var file = Path.Combine(_files.Folder, "folder");
        Directory.CreateDirectory(file);

        var problem = await RefusedAsync(_files.Store(file: file));

        Assert.Contains($"'{file}'", problem.Message, StringComparison.Ordinal);
        Assert.Contains("cannot be opened for writing", problem.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_full_disk_is_named_with_the_remedy()
    {
        var problem = SqliteProblem.Explain("/srv/data/locks.db", new SqliteException("database or disk is full", 13));

        Assert.Contains("'/srv/data/locks.db'", problem.Message, StringComparison.Ordinal);
        Assert.Contains("disk is full. Free some space", problem.Message, StringComparison.Ordinal);
        Assert.False(problem.IsPermanent);
    }

    [Theory]
    [InlineData("Data Source=:memory:")]
    [InlineData("Data Source=")]
    [InlineData("Data Source=locks.db;Mode=Memory")]
    [InlineData("Data Source=file:locks.db")]
    [InlineData("Password=canary-secret")]
    [InlineData("Nonsense=canary-secret")]
    [InlineData("canary-secret")]
    public void A_connection_string_without_a_file_is_refused_without_showing_it(string text)
    {
        var problem = Assert.Throws<ArgumentException>(() => LeaseFiles.Parse(text));

        Assert.Contains("Data Source=data/locks.db", problem.Message, StringComparison.Ordinal);
        Assert.DoesNotContain("canary-secret", problem.ToString(), StringComparison.Ordinal);
    }

    [Fact]
    public async Task The_identity_of_another_process_is_refused()
    {
        var replica = ReplicaIdentity.Create("twin");
        Directory.CreateDirectory(_files.File + ".replicas");
        // As another process would: by a descriptor that this process's stores do not know of.
        using var foreign = FileLock.Open(_files.ReplicaFile(replica));
        Assert.True(foreign.TryLock());

        var problem = await RefusedAsync(_files.Store(replica));

        Assert.Contains(replica.Id, problem.Message, StringComparison.Ordinal);
        Assert.True(problem.IsPermanent);
    }

    private static async Task<StoreUnavailableException> RefusedAsync(SqliteLeaseStore store) =>
        await Assert.ThrowsAsync<StoreUnavailableException>(() => store.CheckAsync(LockStoreUse.Unknown, Stop).AsTask());

    private static object? Execute(string file, string sql)
    {
        SQLitePCL.Batteries_V2.Init();
        using var connection = new SqliteConnection($"Data Source={file};Pooling=False");
        connection.Open();
        using var command = connection.CreateCommand();
        command.CommandText = sql;
        return command.ExecuteScalar();
    }
}
