using System.Data.Common;
using Scheduler.Inbox;
using Scheduler.Sqlite;
using Scheduler.Sqlite.Fencing;
using Scheduler.Tests.Conformance;

namespace Scheduler.Tests.Sqlite;

/// <summary>Effects of webhook events on an application's SQLite database.</summary>
public sealed class SqliteEffectTests : EffectConformance
{
    private readonly DirectoryInfo _folder = Directory.CreateTempSubdirectory("scheduler-effects-");
    private readonly DbDataSource _database;

    public SqliteEffectTests() => _database = SqliteDatabase.Create($"Data Source={Path.Combine(_folder.FullName, "app.db")}");

    protected override DbDataSource Database => _database;

    protected override string DaysAgo(int days) => $"datetime('now', '-{days} days')";

    protected override string FenceDaysAgo(int days) => $"(CAST(strftime('%s', 'now', '-{days} days') AS INTEGER) * 1000)";

    protected override ValueTask StartAsync() => ValueTask.CompletedTask;

    protected override async ValueTask EndAsync()
    {
        await _database.DisposeAsync();
        _folder.Delete(recursive: true);
    }

    protected override ValueTask<bool> ApplyAsync(Effect effect, Func<DbConnection, DbTransaction, CancellationToken, ValueTask> work) =>
        SqliteEffect.ApplyAsync(_database, effect, work, Stop);

    protected override ValueTask<bool> CallAsync(Effect effect, Func<EffectCall, CancellationToken, ValueTask> call) =>
        SqliteEffect.CallAsync(_database, effect, call, Stop);

    protected override ValueTask<long> PruneEffectsAsync(TimeSpan age) => SqliteEffect.PruneAsync(_database, age, Stop);

    protected override ValueTask<long> PruneFencesAsync(TimeSpan idle) => SqliteFence.PruneAsync(_database, idle, Stop);

    [Fact]
    public async Task What_a_former_build_noted_is_done_and_its_table_takes_calls()
    {
        await ExecuteAsync(
            """
            CREATE TABLE webhook_effects (
              source TEXT NOT NULL, dedupe_key TEXT NOT NULL, effect TEXT NOT NULL, token INTEGER NOT NULL,
              applied_at TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP, PRIMARY KEY (source, dedupe_key, effect)
            ) WITHOUT ROWID
            """
        );
        // What it goes on writing beside this one.
        const string Former =
            "INSERT INTO webhook_effects (source, dedupe_key, effect, token) VALUES ('payments', 'payment.succeeded:1', @name, 1)";
        await ExecuteAsync(Former.Replace("@name", "'payment'", StringComparison.Ordinal));
        Assert.False(await PayAsync(PaymentKey, token: 5));
        await ExecuteAsync(Former.Replace("@name", "'mail'", StringComparison.Ordinal));
        Assert.False(await CallAsync(Of(PaymentKey with { Name = "mail" }, 5), (_, _) => throw new InvalidOperationException()));
        Assert.True(await CallAsync(Of(PaymentKey with { Name = "call" }, 5), (_, _) => ValueTask.CompletedTask));
    }

    [Fact]
    public void The_key_for_others_is_the_same_for_the_same_effect_alone()
    {
        Assert.Equal(PaymentKey.IdempotencyKey, (PaymentKey with { }).IdempotencyKey);
        string[] keys =
        [
            PaymentKey.IdempotencyKey,
            new EffectKey("paymentsp", "ayment.succeeded:1", "payment").IdempotencyKey,
            new EffectKey("payments", "payment.succeeded:", "1payment").IdempotencyKey,
            new EffectKey("payments", "payment.succeeded:1", "mail").IdempotencyKey,
        ];
        Assert.Equal(keys.Length, keys.Distinct().Count());
        Assert.Matches("^[0-9a-f]{64}$", keys[0]);
    }
}
