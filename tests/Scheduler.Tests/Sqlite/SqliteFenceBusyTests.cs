using System.Collections.Concurrent;
using System.Data;
using System.Data.Common;
using Dapper;
using Microsoft.Data.Sqlite;
using Scheduler.Locking;
using Scheduler.Sqlite;
using Scheduler.Sqlite.Fencing;
using Scheduler.Sqlite.Files;

namespace Scheduler.Tests.Sqlite;

/// <summary>Fenced work on a database that somebody else is writing to.</summary>
public sealed class SqliteFenceBusyTests : IAsyncDisposable
{
    private const long Older = 5;
    private const long Newer = 6;
    private static readonly TimeSpan Bound = TimeSpan.FromSeconds(20);
    private static readonly LockKey Key = LockKey.From("job:pay");
    private readonly DirectoryInfo _folder = Directory.CreateTempSubdirectory("fence-busy-");
    private readonly DbDataSource _database;

    public SqliteFenceBusyTests()
    {
        _database = SqliteDatabase.Create($"Data Source={File}");
        using var connection = _database.OpenConnection();
        connection.Execute("CREATE TABLE payouts (token INTEGER)");
    }

    private static CancellationToken Stop => TestContext.Current.CancellationToken;

    private string File => Path.Combine(_folder.FullName, "app.db");

    public async ValueTask DisposeAsync()
    {
        await _database.DisposeAsync();
        SqliteConnection.ClearAllPools();
        _folder.Delete(recursive: true);
    }

    [Fact]
    public async Task A_database_that_stays_busy_ends_the_call_after_about_5_s_by_name()
    {
        // Of a data source with the driver's usual 30 s for each command.
        await using var patient = new PlainDataSource(File);
        await using var other = _database.OpenConnection();
        await using var writing = await other.BeginTransactionAsync(IsolationLevel.Serializable, Stop);
        var start = TimeProvider.System.GetTimestamp();

        var problem = await Assert.ThrowsAsync<SqliteException>(() => PayAsync(Newer, database: patient).AsTask());

        Assert.InRange(TimeProvider.System.GetElapsedTime(start), TimeSpan.FromSeconds(3.9), TimeSpan.FromSeconds(8));
        Assert.Equal(5, problem.SqliteErrorCode);
        Assert.Contains($"'{File}'", problem.Message, StringComparison.Ordinal);
        Assert.Contains("'payouts' was not done", problem.Message, StringComparison.Ordinal);
        await writing.RollbackAsync(Stop);
        Assert.Equal(1, await PayAsync(Newer, database: patient));
    }

    [Fact]
    public async Task A_database_that_is_busy_for_a_while_is_waited_for()
    {
        await using var other = _database.OpenConnection();
        var writing = await other.BeginTransactionAsync(IsolationLevel.Serializable, Stop);
        var paying = Task.Run(() => PayAsync(Newer).AsTask(), Stop);
        await Assert.ThrowsAsync<TimeoutException>(() => paying.WaitAsync(TimeSpan.FromSeconds(1.5), Stop));
        await writing.DisposeAsync();

        Assert.Equal(1, await paying.WaitAsync(Bound, Stop));
    }

    [Fact]
    public async Task Cancellation_ends_the_wait_for_a_busy_database()
    {
        await using var other = _database.OpenConnection();
        await using var writing = await other.BeginTransactionAsync(IsolationLevel.Serializable, Stop);
        using var cancel = new CancellationTokenSource(TimeSpan.FromMilliseconds(300), TimeProvider.System);
        var start = TimeProvider.System.GetTimestamp();

        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => PayAsync(Newer, cancellation: cancel.Token).AsTask());

        Assert.InRange(TimeProvider.System.GetElapsedTime(start), TimeSpan.Zero, TimeSpan.FromSeconds(3.5));
    }

    [Fact]
    public async Task Who_waits_for_another_process_blocks_no_thread_of_the_pool_and_its_turn_is_none_either()
    {
        Assert.Equal(1, await PayAsync(Older));
        Assert.True(System.IO.File.Exists($"{File}.lock"));
        var threads = new ConcurrentBag<bool>();
        // As another process does in its turn.
        var other = FileLock.Open($"{File}.lock");
        other.Lock();
        var paying = Enumerable.Range(0, 8).Select(i => PayAsync(Newer + i, threads: threads).AsTask()).ToList();

        // Each call has returned to its caller by now, although none could begin: so none holds its thread.
        Assert.All(paying, p => Assert.False(p.IsCompleted));
        Assert.Empty(threads);
        await Assert.ThrowsAsync<TimeoutException>(() => Task.WhenAny(paying).WaitAsync(TimeSpan.FromMilliseconds(100), Stop));
        other.Dispose();

        Assert.Equal(0, (await Task.WhenAll(paying).WaitAsync(Bound, Stop)).Sum());
        Assert.Equal(Enumerable.Repeat(false, 8), threads);
    }

    [Fact]
    public async Task Who_gives_up_waiting_for_another_process_leaves_at_once_and_the_next_has_its_turn()
    {
        var other = FileLock.Open($"{File}.lock");
        other.Lock();
        using var cancel = new CancellationTokenSource();
        var first = PayAsync(Older, cancellation: cancel.Token).AsTask();
        var second = PayAsync(Newer).AsTask();
        await cancel.CancelAsync();

        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => first.WaitAsync(Bound, Stop));
        other.Dispose();
        Assert.Equal(1, await second.WaitAsync(Bound, Stop));
        await using var connection = await _database.OpenConnectionAsync(Stop);
        Assert.Equal([Newer], await connection.QueryAsync<long>("SELECT token FROM payouts"));
    }

    private ValueTask<int> PayAsync(
        long token,
        DbDataSource? database = null,
        CancellationToken? cancellation = null,
        ConcurrentBag<bool>? threads = null
    ) =>
        SqliteFence.RunAsync(
            database ?? _database,
            "payouts",
            Key,
            new FencingToken(token),
            async (connection, transaction, _) =>
            {
                threads?.Add(Thread.CurrentThread.IsThreadPoolThread);
                var paid = await connection.ExecuteScalarAsync<int>("SELECT count(*) FROM payouts", transaction: transaction) > 0;
                return paid ? 0 : await connection.ExecuteAsync("INSERT INTO payouts VALUES (@token)", new { token }, transaction);
            },
            cancellation ?? Stop
        );

    private sealed class PlainDataSource(string file) : DbDataSource
    {
        public override string ConnectionString => $"Data Source={file};Pooling=False";

        protected override DbConnection CreateDbConnection() => new SqliteConnection(ConnectionString);
    }
}
