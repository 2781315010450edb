using Scheduler.EndToEnd.Harness;
using Scheduler.Testing;

namespace Scheduler.EndToEnd.Scenarios;

/// <summary>Real work on the sample file: every payment is settled once, although a replica dies in the middle.</summary>
public sealed class PaymentsTests : Scenario
{
    private const int Files = 8;

    [Fact]
    public Task Each_payment_is_in_exactly_one_payout_although_replicas_die() => OnAllAsync(StartAsync, PlayAsync);

    private async Task<WorkerGroup> StartAsync(Backends backends)
    {
        var group = await GroupAsync(backends);
        group
            .With("Payments__InboxQuiet", "00:00:00")
            .With("Payments__BatchSize", "20")
            .WithJob("ImportPayments", "ImportPayments", "often", "00:00:01")
            .WithJob("SettlePayouts", "SettlePayouts", "often", "00:00:01");
        await group.StartThreeAsync();
        return group;
    }

    private static async Task PlayAsync(WorkerGroup group)
    {
        var database = Path.Combine(group.Folder, "payments.db");
        var sample = await File.ReadAllLinesAsync(
            Path.Combine(AppContext.BaseDirectory, "samples", "payments-sample.csv"),
            TestContext.Current.CancellationToken
        );

        // The files arrive one after another, and while the first ones are settled a replica is killed, and another one later.
        var lines = sample.Skip(1).Chunk((sample.Length / Files) + 1).ToList();
        for (var i = 0; i < lines.Count; i++)
        {
            await DropAsync(group, $"part-{i}.csv", [sample[0], .. lines[i]]);
            await Eventually.Holds(() => HasTablesAsync(database));
            if (i is 2 or 5)
            {
                await Eventually.Holds(async () => await CountAsync(database, "payouts") > 0, TimeSpan.FromSeconds(30));
                group.Running[0].Kill9();
            }
        }
        await Eventually.Holds(
            async () =>
                await CountAsync(database, "imports") >= lines.Count && await CountAsync(database, "payments WHERE payout_id IS NULL") == 0,
            TimeSpan.FromSeconds(60)
        );

        Assert.True(await CountAsync(database, "payments") > 1_000);
        Assert.Equal(
            await EmbeddedFile.NumberAsync(database, "SELECT SUM(amount_minor) FROM payments"),
            await EmbeddedFile.NumberAsync(database, "SELECT SUM(amount_minor) FROM payouts")
        );
        Assert.Equal(await CountAsync(database, "payments"), await EmbeddedFile.NumberAsync(database, "SELECT SUM(payments) FROM payouts"));
        const string Wrong = """
            (SELECT p.id FROM payouts p LEFT JOIN payments q ON q.payout_id = p.id GROUP BY p.id
             HAVING COUNT(q.payment_id) <> p.payments OR COALESCE(SUM(q.amount_minor), 0) <> p.amount_minor)
            """;
        Assert.Equal(0, await CountAsync(database, Wrong));
        Assert.Empty(Directory.EnumerateFiles(Path.Combine(group.Folder, "inbox"), "*.csv"));
    }

    private static Task<long> CountAsync(string database, string what) =>
        EmbeddedFile.NumberAsync(database, $"SELECT COUNT(*) FROM {what}");

    // The first job that runs makes the file and, a moment later, its tables.
    private static async Task<bool> HasTablesAsync(string database) =>
        File.Exists(database) && await CountAsync(database, "sqlite_schema WHERE name IN ('payments', 'payouts', 'imports')") == 3;

    // By rename, so that nobody sees half a file.
    private static async Task DropAsync(WorkerGroup group, string name, IEnumerable<string> lines)
    {
        var inbox = Directory.CreateDirectory(Path.Combine(group.Folder, "inbox"));
        var partial = Path.Combine(group.Folder, name);
        await File.WriteAllLinesAsync(partial, lines, TestContext.Current.CancellationToken);
        File.Move(partial, Path.Combine(inbox.FullName, name));
    }
}
