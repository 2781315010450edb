using System.Data.Common;
using Dapper;
using Scheduler.Locking;
using Scheduler.Sqlite;
using Scheduler.Sqlite.Fencing;

namespace Scheduler.Tests.Sqlite;

public sealed class SqliteFenceTests : IAsyncDisposable
{
    private static readonly LockKey Key = LockKey.From("job:pay");
    private readonly DirectoryInfo _folder = Directory.CreateTempSubdirectory("fence-");
    private readonly DbDataSource _database;

    public SqliteFenceTests()
    {
        _database = SqliteDatabase.Create($"Data Source={_folder.FullName}/app.db");
        using var connection = _database.OpenConnection();
        connection.Execute("CREATE TABLE payouts (token INTEGER)");
    }

    public async ValueTask DisposeAsync()
    {
        await _database.DisposeAsync();
        _folder.Delete(recursive: true);
    }

    private ValueTask<int> PayAsync(long token, LockKey? key = null) =>
        SqliteFence.RunAsync(
            _database,
            "payouts",
            key ?? Key,
            new FencingToken(token),
            async (connection, transaction, _) =>
                await connection.ExecuteScalarAsync<int>("SELECT count(*) FROM payouts", transaction: transaction) > 0
                    ? 0
                    : await connection.ExecuteAsync("INSERT INTO payouts VALUES (@token)", new { token }, transaction),
            TestContext.Current.CancellationToken
        );

    private List<long> Paid()
    {
        using var connection = _database.OpenConnection();
        return connection.Query<long>("SELECT token FROM payouts").AsList();
    }

    [Fact]
    public async Task A_holder_that_wakes_late_is_stale_and_writes_nothing()
    {
        Assert.Equal(1, await PayAsync(6));
        var stale = await Assert.ThrowsAsync<StaleLeaseException>(async () => await PayAsync(5));
        Assert.Equal((5, 6), (stale.Token.Value, stale.Newest.Value));
        Assert.Equal(0, await PayAsync(6));
        Assert.Equal([6L], Paid());
    }

    [Fact]
    public async Task The_work_of_a_stale_holder_does_not_begin()
    {
        Assert.Equal(1, await PayAsync(6));
        var began = false;
        await Assert.ThrowsAsync<StaleLeaseException>(async () =>
            await SqliteFence.RunAsync(
                _database,
                "payouts",
                Key,
                new FencingToken(5),
                (_, _, _) => ValueTask.FromResult(began = true),
                TestContext.Current.CancellationToken
            )
        );
        Assert.False(began);
    }

    [Fact]
    public async Task Work_that_throws_leaves_neither_effect_nor_fence()
    {
        await Assert.ThrowsAsync<InvalidOperationException>(async () =>
            await SqliteFence.RunAsync<int>(
                _database,
                "payouts",
                Key,
                new FencingToken(9),
                async (connection, transaction, _) =>
                {
                    await connection.ExecuteAsync("INSERT INTO payouts VALUES (9)", transaction: transaction);
                    throw new InvalidOperationException("boom");
                },
                TestContext.Current.CancellationToken
            )
        );
        Assert.Empty(Paid());
        Assert.Equal(1, await PayAsync(8));
    }

    [Fact]
    public async Task Another_lock_key_is_refused()
    {
        await PayAsync(5);
        await Assert.ThrowsAsync<InvalidOperationException>(async () => await PayAsync(6, LockKey.From("job:other")));
    }
}
