using System.Data;
using System.Data.Common;
using Dapper;
using Microsoft.Data.Sqlite;
using Scheduler.Locking;
using Scheduler.Sqlite;
using Scheduler.Sqlite.Fencing;

namespace Scheduler.Tests.Sqlite;

/// <summary>Fenced work on a database that somebody else is writing to.</summary>
public sealed class SqliteFenceBusyTests : IAsyncDisposable
{
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

    private ValueTask<int> PayAsync(long token, DbDataSource? database = null, CancellationToken? cancellation = null) =>
        SqliteFence.RunAsync(
            database ?? _database,
            "payouts",
            Key,
            new FencingToken(token),
            async (connection, transaction, _) =>
            {
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
