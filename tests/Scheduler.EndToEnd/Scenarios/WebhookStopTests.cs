using System.Net;
using Microsoft.Data.Sqlite;
using Scheduler.EndToEnd.Harness;
using Scheduler.Testing;
using Scheduler.Testing.Webhooks;

namespace Scheduler.EndToEnd.Scenarios;

/// <summary>A worker is asked to stop while a handler works: the handler has the time of the stop, and its event is put back.</summary>
public sealed class WebhookStopTests : Scenario
{
    [Fact]
    public async Task A_stop_takes_nothing_new_and_puts_back_what_its_handlers_cannot_finish()
    {
        var group = WebhookTests.WithPayments(await GroupAsync(Backends.Sqlite)).With("Scheduler__Stop__Grace", "00:00:02");
        var worker = (await group.StartAsync(("a", default)))[0];
        Assert.Equal(HttpStatusCode.Accepted, await DeliverAsync(worker, "1"));
        await StateIsAsync(group, "1", "done");

        await using (await LockPaymentsAsync(group))
        {
            // Its handler waits for the database, longer than the stop takes.
            Assert.Equal(HttpStatusCode.Accepted, await DeliverAsync(worker, "2"));
            await StateIsAsync(group, "2", "processing");
            worker.Terminate();
            await Eventually.Holds(async () => await DeliverAsync(worker, "3") == HttpStatusCode.ServiceUnavailable);
            Assert.Equal(0, await worker.UntilEndedAsync(TimeSpan.FromSeconds(2 + 5 + 5)));
            // By the one that stopped: the time of its claim is not over yet, and nobody else is there.
            Assert.Equal(("received", 1L, 0L), await RowAsync(group, "2"));
        }
        await group.StartAsync(("b", default));
        await StateIsAsync(group, "2", "done");
        Assert.Equal(("done", 2L, 1L), await RowAsync(group, "2"));
        await group.StopAllAsync();
    }

    private static async Task<HttpStatusCode> DeliverAsync(WorkerProcess worker, string order)
    {
        var body = $$"""
            {"type":"payment.succeeded","orderId":"{{order}}","paymentId":"pay_{{order}}","merchantId":"m","amountMinor":100,
            "currency":"EUR","paidAt":"2026-01-31T12:00:00Z"}
            """;
        using var connection = await HttpConnection.OpenAsync(worker.Ingress, TestContext.Current.CancellationToken);
        return (HttpStatusCode)await connection.SendAsync(Signer.Request($"msg-{order}", body), TestContext.Current.CancellationToken);
    }

    private static Task StateIsAsync(WorkerGroup group, string order, string state) =>
        Eventually.Holds(async () => (await RowAsync(group, order))?.State == state, what: $"the event of order {order} is {state}");

    private static async Task<(string State, long Attempts, long Counted)?> RowAsync(WorkerGroup group, string order)
    {
        await using var connection = new SqliteConnection($"Data Source={Path.Combine(group.Folder, "state.db")};Mode=ReadOnly");
        await connection.OpenAsync(TestContext.Current.CancellationToken);
        await using var command = connection.CreateCommand();
        command.CommandText = "SELECT state, attempts, counted FROM inbox WHERE order_key = $order";
        command.Parameters.AddWithValue("$order", order);
        await using var reader = await command.ExecuteReaderAsync(TestContext.Current.CancellationToken);
        return await reader.ReadAsync(TestContext.Current.CancellationToken)
            ? (reader.GetString(0), reader.GetInt64(1), reader.GetInt64(2))
            : null;
    }

    private static async Task<SqliteConnection> LockPaymentsAsync(WorkerGroup group)
    {
        var connection = new SqliteConnection($"Data Source={Path.Combine(group.Folder, "payments.db")};Pooling=False");
        await connection.OpenAsync(TestContext.Current.CancellationToken);
        await using var command = connection.CreateCommand();
        command.CommandText = "BEGIN IMMEDIATE";
        await command.ExecuteNonQueryAsync(TestContext.Current.CancellationToken);
        return connection;
    }
}
