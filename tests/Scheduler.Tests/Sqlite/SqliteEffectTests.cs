using System.Data.Common;
using Dapper;
using Scheduler.Inbox;
using Scheduler.Locking;
using Scheduler.Sqlite;
using Scheduler.Sqlite.Fencing;

namespace Scheduler.Tests.Sqlite;

/// <summary>Effects of webhook events on an application's SQLite database.</summary>
public sealed class SqliteEffectTests : IDisposable
{
    private static readonly LockKey Order = LockKey.From("order:payments:1");
    private static readonly EffectKey Payment = new("payments", "payment.succeeded:1", "payment");
    private readonly DirectoryInfo _folder = Directory.CreateTempSubdirectory("scheduler-effects-");
    private readonly DbDataSource _database;

    public SqliteEffectTests()
    {
        _database = SqliteDatabase.Create($"Data Source={Path.Combine(_folder.FullName, "app.db")}");
        using var connection = _database.OpenConnection();
        connection.Execute("CREATE TABLE money (amount INTEGER)");
    }

    public void Dispose()
    {
        _database.Dispose();
        _folder.Delete(recursive: true);
    }

    [Fact]
    public async Task An_effect_is_applied_once_however_often_its_event_is_taken()
    {
        Assert.True(await ApplyAsync(Payment, token: 5));
        Assert.False(await ApplyAsync(Payment, token: 6));
        Assert.False(await ApplyAsync(Payment, token: 6));
        Assert.True(await ApplyAsync(Payment with { Name = "mail" }, token: 6));
        Assert.True(await ApplyAsync(Payment with { DedupeKey = "payment.refunded:1" }, token: 6));
        Assert.Equal(3, Count());
    }

    [Fact]
    public async Task A_late_handler_is_refused_although_the_effect_is_not_there()
    {
        Assert.True(await ApplyAsync(Payment, token: 6));
        await Assert.ThrowsAsync<StaleLeaseException>(async () => await ApplyAsync(Payment with { Name = "mail" }, token: 5));
        Assert.Equal(1, Count());
    }

    [Fact]
    public async Task Work_that_fails_leaves_nothing_behind_and_is_done_by_the_next_attempt()
    {
        await Assert.ThrowsAsync<InvalidOperationException>(async () =>
            await SqliteEffect.ApplyAsync(
                _database,
                Payment,
                Order,
                new FencingToken(5),
                async (connection, transaction, _) =>
                {
                    await connection.ExecuteAsync("INSERT INTO money VALUES (1)", transaction: transaction);
                    throw new InvalidOperationException("broken");
                },
                TestContext.Current.CancellationToken
            )
        );
        Assert.Equal(0, Count());
        Assert.True(await ApplyAsync(Payment, token: 6));
    }

    [Fact]
    public async Task Of_many_at_once_one_has_the_effect()
    {
        var applied = await Task.WhenAll(Enumerable.Range(0, 8).Select(_ => Task.Run(async () => await ApplyAsync(Payment, token: 5))));
        Assert.Single(applied, a => a);
        Assert.Equal(1, Count());
    }

    [Fact]
    public void The_key_for_others_is_the_same_for_the_same_effect_alone()
    {
        Assert.Equal(Payment.IdempotencyKey, (Payment with { }).IdempotencyKey);
        string[] keys =
        [
            Payment.IdempotencyKey,
            new EffectKey("paymentsp", "ayment.succeeded:1", "payment").IdempotencyKey,
            new EffectKey("payments", "payment.succeeded:", "1payment").IdempotencyKey,
            new EffectKey("payments", "payment.succeeded:1", "mail").IdempotencyKey,
        ];
        Assert.Equal(keys.Length, keys.Distinct().Count());
        Assert.Matches("^[0-9a-f]{64}$", keys[0]);
    }

    private ValueTask<bool> ApplyAsync(EffectKey effect, long token) =>
        SqliteEffect.ApplyAsync(
            _database,
            effect,
            Order,
            new FencingToken(token),
            async (connection, transaction, _) => await connection.ExecuteAsync("INSERT INTO money VALUES (1)", transaction: transaction),
            TestContext.Current.CancellationToken
        );

    private long Count()
    {
        using var connection = _database.OpenConnection();
        return connection.QuerySingle<long>("SELECT count(*) FROM money");
    }
}
