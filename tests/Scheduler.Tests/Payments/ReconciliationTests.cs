using System.Globalization;
using System.Security.Cryptography;
using System.Text;
using Dapper;
using Microsoft.Data.Sqlite;
using Payments.Jobs.Reconciling;
using Payments.Jobs.Reporting;
using Payments.Jobs.Settling;
using Scheduler.Inbox;
using Scheduler.Locking;
using Scheduler.Runs;
using Scheduler.Testing;
using Scheduler.Tests.Worker;

namespace Scheduler.Tests.Payments;

/// <summary>Payments that came as webhooks, in the jobs: on a worker with the sample's handlers and both databases.</summary>
public sealed class ReconciliationTests : IAsyncDisposable
{
    private static readonly LockKey Key = LockKey.From("job:reconcile");
    private readonly DirectoryInfo _folder = Directory.CreateTempSubdirectory("scheduler-reconcile-");
    private long _token;

    public ValueTask DisposeAsync()
    {
        _folder.Delete(recursive: true);
        return ValueTask.CompletedTask;
    }

    [Fact]
    public async Task Each_kind_of_difference_is_found_and_listed()
    {
        await using var app = await StartAsync();
        Assert.Empty((await ReconcileAsync(app)).Differences);
        var (noPayment, noEffect) = (await PaidAsync(app, "no payment"), await PaidAsync(app, "no effect"));
        await PaidAsync(app, "same");
        await PaidAsync(app, "given back");
        await DoneAsync(app, await AddAsync(app, "payment.refunded", "given back"));
        var whole = await ReconcileAsync(app);
        Assert.Equal((5, true), (whole.Events, whole.IsWhole));
        Assert.Empty(whole.Differences);

        await ChangeAsync("DELETE FROM payments WHERE order_id = 'no payment'");
        await ChangeAsync("DELETE FROM webhook_effects WHERE dedupe_key = 'payment.succeeded:no%20effect'");
        await ChangeAsync(
            "INSERT INTO webhook_effects (source, dedupe_key, effect, token, applied_at) "
                + "VALUES ('payments', 'payment.succeeded:gone', 'payment', 1, datetime('now', '-1 hour'))"
        );
        await ChangeAsync(
            "INSERT INTO webhook_effects (source, dedupe_key, effect, token, applied_at) "
                + "VALUES ('others', 'payment.succeeded:other', 'payment', 1, datetime('now', '-1 hour'))"
        );
        var conflict = await AddAsync(app, "payment.succeeded", "same", amount: 7);
        // A refund of a payment that is not there fails, and is tried again for longer than anybody waits here.
        var late = await AddAsync(app, "payment.refunded", "none", age: TimeSpan.FromMinutes(6));

        var found = await ReconcileAsync(app);

        Assert.Equal(
            [
                (Difference.NoEffect, noEffect, "payment.succeeded", "no%20effect"),
                (Difference.NoPayment, noPayment, "payment.succeeded", "no%20payment"),
                (Difference.Late, late, "payment.refunded", "none"),
                (Difference.NoEvent, "", "", "payment.succeeded:gone"),
                (Difference.Waiting, conflict, "payment.succeeded", "same"),
            ],
            found.Differences.Select(d => (d.Kind, d.Event, d.Type, d.Order)).OrderBy(d => d.Order, StringComparer.Ordinal).ToArray()
        );
        var report = await File.ReadAllLinesAsync(ReportPath, TestContext.Current.CancellationToken);
        Assert.Equal("difference,event,type,order,at", report[0]);
        Assert.Equal(found.Differences.Count, report.Length - 1);
        Assert.True(app.Log.Has("1 × done without effect"), app.Log.Text);
    }

    [Fact]
    public async Task A_stale_holder_leaves_the_report_alone()
    {
        await using var app = await StartAsync();
        _token = 10;
        await ReconcileAsync(app);
        await AddAsync(app, "payment.refunded", "none", age: TimeSpan.FromMinutes(6));
        var before = await File.ReadAllTextAsync(ReportPath, TestContext.Current.CancellationToken);
        _token = 3;

        await Assert.ThrowsAsync<StaleLeaseException>(() => ReconcileAsync(app));

        Assert.Equal(before, await File.ReadAllTextAsync(ReportPath, TestContext.Current.CancellationToken));
    }

    [Fact]
    public async Task What_came_as_a_webhook_is_settled_and_reported_and_a_refund_outdates_the_report()
    {
        await using var app = await StartAsync();
        await DoneAsync(app, await AddAsync(app, "payment.succeeded", "1", amount: 500));
        await DoneAsync(app, await AddAsync(app, "payment.succeeded", "2", amount: 700));
        var exporter = app.Get<SalesExporter>();
        var key = LockKey.From("job:export");
        Assert.Equal(["2026-01-31"], await exporter.ExportAsync(key, new FencingToken(1), CancellationToken.None));

        // As many payments as before, of another amount.
        await DoneAsync(app, await AddAsync(app, "payment.refunded", "1"));
        await DoneAsync(app, await AddAsync(app, "payment.succeeded", "3", amount: 900));
        Assert.Equal(["2026-01-31"], await exporter.ExportAsync(key, new FencingToken(1), CancellationToken.None));
        var sales = await File.ReadAllTextAsync(exporter.PathOf("2026-01-31"), TestContext.Current.CancellationToken);
        Assert.Contains("merchant-1,EUR,2,1600", sales, StringComparison.Ordinal);

        var settled = await app.Get<PayoutSettler>()
            .SettleAsync(LockKey.From("job:settle"), new FencingToken(1), "run", CancellationToken.None);
        Assert.Equal((1, 2, 1600), (settled.Payouts, settled.Payments, settled.TotalsMinor["EUR"]));
        // What is in a payout stays there; the merchant owes it.
        await DoneAsync(app, await AddAsync(app, "payment.refunded", "2"));
        Assert.Equal(2, await NumberAsync("SELECT count(*) FROM payments"));
        Assert.Equal(1, await NumberAsync("SELECT was_paid_out FROM refunds WHERE order_id = '2'"));
        Assert.Empty(await exporter.ExportAsync(key, new FencingToken(1), CancellationToken.None));
    }

    [Fact]
    public async Task A_day_whose_payments_were_all_given_back_has_an_empty_report()
    {
        await using var app = await StartAsync();
        await DoneAsync(app, await AddAsync(app, "payment.succeeded", "1"));
        var exporter = app.Get<SalesExporter>();
        await exporter.ExportAsync(LockKey.From("job:export"), new FencingToken(1), CancellationToken.None);
        await DoneAsync(app, await AddAsync(app, "payment.refunded", "1"));

        Assert.Equal(["2026-01-31"], await exporter.ExportAsync(LockKey.From("job:export"), new FencingToken(1), CancellationToken.None));
        Assert.Single(await File.ReadAllLinesAsync(exporter.PathOf("2026-01-31"), TestContext.Current.CancellationToken));
        Assert.Empty(await exporter.ExportAsync(LockKey.From("job:export"), new FencingToken(1), CancellationToken.None));
    }

    [Fact]
    public async Task A_payment_that_came_in_a_file_too_is_taken_once_and_one_with_other_content_is_refused()
    {
        await using var app = await StartAsync();
        await DoneAsync(app, await AddAsync(app, "payment.succeeded", "1"));
        await ChangeAsync("UPDATE payments SET source_file = 'a.csv'");
        await ChangeAsync("DELETE FROM webhook_effects WHERE effect = 'payment'");
        await ChangeAsync(
            "INSERT INTO payments SELECT 'pay_2', merchant_id, '2', 9, currency, paid_at, paid_day, 'a.csv', NULL FROM payments"
        );
        // Of another order, so that it is another event; the same payment.
        await DoneAsync(app, await AddAsync(app, "payment.succeeded", "1", extra: "again"));
        var other = await AddAsync(app, "payment.succeeded", "2");

        await Eventually.Holds(async () => (await StateOfAsync(app, other)) is InboxState.Failed or InboxState.Processing);
        Assert.Equal(2, await NumberAsync("SELECT count(*) FROM payments"));
        await Eventually.Holds(async () =>
            (await app.Get<IState>().Inbox.FindAsync(other, CancellationToken.None))!.Error?.Contains("other content") == true
        );
    }

    private string ReportPath => Path.Combine(_folder.FullName, "reports", PaymentReconciler.FileName);

    private Task<WorkerApp> StartAsync() =>
        WorkerApp.StartAsync(
            _folder.FullName,
            ("Scheduler:Webhooks:Sources:payments:Scheme", "standard-webhooks"),
            ("Scheduler:Webhooks:Sources:payments:Secrets:0", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"),
            ("Payments:Reports", Path.Combine(_folder.FullName, "reports"))
        );

    private async Task<Reconciliation> ReconcileAsync(WorkerApp app) =>
        await app.Get<PaymentReconciler>().ReconcileAsync(Key, new FencingToken(++_token), CancellationToken.None);

    /// <summary>Adds an event as if it had been delivered a while ago.</summary>
    private static async Task<string> AddAsync(
        WorkerApp app,
        string type,
        string order,
        int amount = 100,
        TimeSpan age = default,
        string extra = ""
    )
    {
        var shown = amount.ToString(CultureInfo.InvariantCulture);
        var body = Encoding.UTF8.GetBytes(
            $$"""
            {"type":"{{type}}","orderId":"{{order}}","paymentId":"pay_{{order}}","merchantId":"merchant-1","amountMinor":{{shown}},
            "currency":"EUR","paidAt":"2026-01-31T12:00:00Z","refundedAt":"2026-01-31T13:00:00Z"}
            """
        );
        var hash = SHA256.HashData(body);
        var answers = await app.Get<IState>()
            .Inbox.AddAsync(
                [
                    new InboxArrival
                    {
                        Source = "payments",
                        Type = type,
                        DedupeKey = $"{type}:{Uri.EscapeDataString(order)}{extra}",
                        OrderKey = Uri.EscapeDataString(order),
                        BodyHash = hash,
                        ContentHash = hash,
                        Body = body,
                        ReceivedAt = TimeProvider.System.GetUtcNow() - age,
                    },
                ],
                CancellationToken.None
            );
        return answers[0].Outcome == InboxOutcome.Conflict
            ? (await app.GetAsync("/api/inbox?state=conflict")).Items[0].GetProperty("id").GetString()!
            : answers[0].Id;
    }

    private static async Task<string> PaidAsync(WorkerApp app, string order)
    {
        var id = await AddAsync(app, "payment.succeeded", order);
        await DoneAsync(app, id);
        return id;
    }

    private static Task DoneAsync(WorkerApp app, string id) =>
        Eventually.Holds(async () => await StateOfAsync(app, id) == InboxState.Done, what: $"event {id} is done");

    private static async Task<InboxState> StateOfAsync(WorkerApp app, string id) =>
        (await app.Get<IState>().Inbox.FindAsync(id, CancellationToken.None))!.State;

    private async Task ChangeAsync(string sql)
    {
        await using var connection = new SqliteConnection($"Data Source={_folder.FullName}/payments.db");
        Assert.NotEqual(0, await connection.ExecuteAsync(sql));
    }

    private async Task<long> NumberAsync(string sql)
    {
        await using var connection = new SqliteConnection($"Data Source={_folder.FullName}/payments.db");
        return await connection.QuerySingleAsync<long>(sql);
    }
}
