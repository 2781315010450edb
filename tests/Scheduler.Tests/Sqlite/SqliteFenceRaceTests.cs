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

/// <summary>Two holders of one lock key at one database: the older one was frozen between its reading and its writing.</summary>
public sealed class SqliteFenceRaceTests : IAsyncDisposable
{
    private const long Older = 5;
    private const long Newer = 6;
    private static readonly TimeSpan Bound = TimeSpan.FromSeconds(20);
    private static readonly LockKey Key = LockKey.From("job:pay");
    private readonly DirectoryInfo _folder = Directory.CreateTempSubdirectory("fence-race-");
    private readonly DbDataSource _database;

    public SqliteFenceRaceTests()
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
    public async Task A_holder_that_read_before_and_writes_after_a_newer_one_is_refused_and_rolled_back()
    {
        var pause = new Pause();
        // As jobs do it: look whether it is paid, work on it, then pay in a fenced transaction that looks again.
        var older = Task.Run(
            async () =>
            {
                Assert.Equal(0, await CountAsync());
                await pause.WaitAsync();
                return await PayAsync(Older);
            },
            Stop
        );
        await pause.Reached;
        Assert.Equal(1, await PayAsync(Newer));
        pause.End();

        var stale = await Assert.ThrowsAsync<StaleLeaseException>(() => older);

        Assert.Equal((Older, Newer), (stale.Token.Value, stale.Newest.Value));
        Assert.Equal([Newer], Paid());
    }

    [Fact]
    public async Task While_the_older_one_is_in_its_transaction_the_newer_one_waits_and_reads_what_it_did()
    {
        var pause = new Pause();
        var older = Task.Run(() => PayAsync(Older, pause).AsTask(), Stop);
        await pause.Reached;
        var newer = Task.Run(() => PayAsync(Newer).AsTask(), Stop);
        await Assert.ThrowsAsync<TimeoutException>(() => newer.WaitAsync(TimeSpan.FromMilliseconds(200), Stop));
        pause.End();

        Assert.Equal(1, await older.WaitAsync(Bound, Stop));
        Assert.Equal(0, await newer.WaitAsync(Bound, Stop));
        Assert.Equal([Older], Paid());
    }

    /// <summary>The counter-example: why the fence is raised before anything is read.</summary>
    [Fact]
    public async Task Raised_at_the_end_instead_both_pay()
    {
        using (var connection = _database.OpenConnection())
        {
            connection.Execute(FenceTable.Create);
        }
        var pause = new Pause();
        // The older one's token passes: the newer one has raised nothing yet when the older one gets to its end.
        var newer = Task.Run(() => PayWithTheFenceLastAsync(Newer, pause), Stop);
        await pause.Reached;
        Assert.Equal(1, await PayWithTheFenceLastAsync(Older, pause: null));
        pause.End();

        Assert.Equal(1, await newer.WaitAsync(Bound, Stop));
        Assert.Equal([Older, Newer], Paid());
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
    public async Task Cancellation_before_the_commit_rolls_back()
    {
        using var cancel = new CancellationTokenSource();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(async () =>
            await SqliteFence.RunAsync(
                _database,
                "payouts",
                Key,
                new FencingToken(Newer),
                async (connection, transaction, _) =>
                {
                    await connection.ExecuteAsync("INSERT INTO payouts VALUES (6)", transaction: transaction);
                    await cancel.CancelAsync();
                    return 1;
                },
                cancel.Token
            )
        );
        Assert.Empty(Paid());
        Assert.Equal(1, await PayAsync(Older));
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
        Assert.Equal([Newer], Paid());
    }

    private ValueTask<int> PayAsync(
        long token,
        Pause? pause = null,
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
                if (pause is not null)
                {
                    await pause.WaitAsync();
                }
                return paid ? 0 : await connection.ExecuteAsync("INSERT INTO payouts VALUES (@token)", new { token }, transaction);
            },
            cancellation ?? Stop
        );

    // Wrong: it reads and decides first, and raises the fence when it writes.
    private async Task<int> PayWithTheFenceLastAsync(long token, Pause? pause)
    {
        await using var connection = await _database.OpenConnectionAsync(Stop);
        var paid = await connection.ExecuteScalarAsync<int>("SELECT count(*) FROM payouts") > 0;
        if (pause is not null)
        {
            await pause.WaitAsync();
        }
        await using var transaction = await connection.BeginTransactionAsync(IsolationLevel.Serializable, Stop);
        var rows = paid ? 0 : await connection.ExecuteAsync("INSERT INTO payouts VALUES (@token)", new { token }, transaction);
        Assert.Null(FenceTable.Raise(connection, transaction, "", "payouts", Key, new FencingToken(token)));
        await transaction.CommitAsync(Stop);
        return rows;
    }

    private async Task<int> CountAsync()
    {
        await using var connection = await _database.OpenConnectionAsync(Stop);
        return await connection.ExecuteScalarAsync<int>("SELECT count(*) FROM payouts");
    }

    private List<long> Paid()
    {
        using var connection = _database.OpenConnection();
        return connection.Query<long>("SELECT token FROM payouts ORDER BY token").AsList();
    }

    /// <summary>A point at which work stands until the test lets it go on.</summary>
    private sealed class Pause
    {
        private readonly TaskCompletionSource _reached = new(TaskCreationOptions.RunContinuationsAsynchronously);
        private readonly TaskCompletionSource _end = new(TaskCreationOptions.RunContinuationsAsynchronously);

        public Task Reached => _reached.Task.WaitAsync(Bound, Stop);

        public Task WaitAsync()
        {
            _reached.SetResult();
            return _end.Task.WaitAsync(Bound, Stop);
        }

        public void End() => _end.SetResult();
    }

    private sealed class PlainDataSource(string file) : DbDataSource
    {
        public override string ConnectionString => $"Data Source={file};Pooling=False";

        protected override DbConnection CreateDbConnection() => new SqliteConnection(ConnectionString);
    }
}
