using System.Text.Json;
using Dapper;
using Microsoft.Data.Sqlite;
using Scheduler.Testing;

namespace Scheduler.Tests.Worker;

/// <summary>Deliveries over HTTP to a worker with the sample's handlers.</summary>
public sealed class WebhookHttpTests : IAsyncDisposable
{
    private readonly DirectoryInfo _folder = Directory.CreateTempSubdirectory("scheduler-webhooks-");

    public ValueTask DisposeAsync()
    {
        _folder.Delete(recursive: true);
        return ValueTask.CompletedTask;
    }

    [Fact]
    public async Task A_payment_is_accepted_applied_once_and_given_back()
    {
        await using var app = await StartAsync();
        var paid = Paid("8123", 1250);
        var accepted = await Sender.DeliverAsync(app, paid);
        Assert.Equal((202, "accepted"), (accepted.Status, accepted.Json.GetProperty("status").GetString()));
        var id = accepted.Json.GetProperty("id").GetString()!;
        await DoneAsync(app, id);
        Assert.Equal(1250, await QueryAsync<long>("SELECT amount_minor FROM payments WHERE order_id = '8123'"));

        // The same under another event id, and the same again with other spaces.
        foreach (var again in (string[])[paid, paid.Replace(",\"", ", \"", StringComparison.Ordinal)])
        {
            var duplicate = await Sender.DeliverAsync(app, again);
            Assert.Equal((200, "duplicate", id), Told(duplicate));
        }
        Assert.Equal(1, await QueryAsync<long>("SELECT count(*) FROM payments"));

        var conflict = await Sender.DeliverAsync(app, Paid("8123", 9999));
        Assert.Equal((200, "conflict", id), Told(conflict));
        Assert.True(app.Log.Has($"contradicts event {id}"), app.Log.Text);
        Assert.Single((await app.GetAsync("/api/inbox?state=conflict")).Items);

        var other = await Sender.DeliverAsync(app, Paid("8124", 100));
        await DoneAsync(app, other.Json.GetProperty("id").GetString()!);
        var refund = await Sender.DeliverAsync(
            app,
            """{"type":"payment.refunded","orderId":"8124","paymentId":"pay_8124","refundedAt":"2026-01-31T13:00:00Z"}"""
        );
        await DoneAsync(app, refund.Json.GetProperty("id").GetString()!);
        Assert.Equal(1, await QueryAsync<long>("SELECT count(*) FROM payments"));
        Assert.Equal(100, await QueryAsync<long>("SELECT amount_minor FROM refunds WHERE order_id = '8124'"));
        Assert.Equal(3, await QueryAsync<long>("SELECT count(*) FROM webhook_effects"));
    }

    [Fact]
    public async Task A_person_decides_about_what_waits_for_one()
    {
        await using var app = await StartAsync(("Scheduler:Webhooks:Sources:payments:MaxAttempts", "1"));
        // Nothing to give back, so it is dead after its only attempt, and holds back the payment behind it.
        const string Refund = """{"type":"payment.refunded","orderId":"1","paymentId":"pay_0","refundedAt":"2026-01-31T13:00:00Z"}""";
        var dead = (await Sender.DeliverAsync(app, Refund)).Json.GetProperty("id").GetString()!;
        await StateAsync(app, dead, "dead");
        var paid = (await Sender.DeliverAsync(app, Paid("1", 5))).Json.GetProperty("id").GetString()!;
        Assert.Equal(200, (await app.PostAsync($"/api/inbox/{dead}/replay")).Status);
        await StateAsync(app, dead, "dead");
        Assert.Equal(409, (await app.PostAsync($"/api/inbox/{paid}/replay")).Status);
        Assert.Equal(409, (await app.PostAsync($"/api/inbox/{dead}/resolve?decision=accept")).Status);
        Assert.Equal(400, (await app.PostAsync($"/api/inbox/{dead}/resolve?decision=both")).Status);
        Assert.Equal(404, (await app.PostAsync("/api/inbox/none/replay")).Status);

        await DoneAsync(app, (await Sender.DeliverAsync(app, Paid("2", 5))).Json.GetProperty("id").GetString()!);
        await Sender.DeliverAsync(app, Paid("2", 6).Replace("pay_2", "pay_2b", StringComparison.Ordinal));
        var conflict = (await app.GetAsync("/api/inbox?state=conflict")).Items.Single().GetProperty("id").GetString()!;
        Assert.Equal(200, (await app.PostAsync($"/api/inbox/{conflict}/resolve?decision=accept")).Status);
        await DoneAsync(app, conflict);
        Assert.Equal(2, await QueryAsync<long>("SELECT count(*) FROM payments WHERE order_id = '2'"));
        Assert.True(app.Log.Has("was resolved (accept) on request from"));
    }

    [Fact]
    public async Task What_is_no_event_of_ours_is_kept_and_answered_with_2xx()
    {
        await using var app = await StartAsync();
        var ignored = await Sender.DeliverAsync(app, """{"type":"payment.created","orderId":"1"}""");
        Assert.Equal((202, "ignored"), (ignored.Status, ignored.Json.GetProperty("status").GetString()));
        Assert.Equal(["status", "id"], ignored.Json.EnumerateObject().Select(p => p.Name));
        var broken = await Sender.DeliverAsync(app, """{"type":""");
        Assert.Equal((202, "quarantined"), (broken.Status, broken.Json.GetProperty("status").GetString()));
        Assert.StartsWith("not JSON", broken.Json.GetProperty("reason").GetString(), StringComparison.Ordinal);
        Assert.Equal("quarantined", (await Sender.DeliverAsync(app, """{"type":""")).Json.GetProperty("status").GetString());
        Assert.Single((await app.GetAsync("/api/inbox?state=quarantined")).Items);
        var keyless = await Sender.DeliverAsync(app, """{"type":"payment.succeeded"}""");
        Assert.Contains("/orderId is missing", keyless.Json.GetProperty("reason").GetString(), StringComparison.Ordinal);
    }

    [Fact]
    public async Task What_is_not_genuine_or_not_for_us_is_refused_and_not_kept()
    {
        await using var app = await StartAsync(("Scheduler:Webhooks:Sources:payments:MaxBodyBytes", "2048"));
        var paid = Paid("1", 5);
        Assert.Equal(401, (await Sender.DeliverAsync(app, paid, change: r => r.Headers.Remove("webhook-signature"))).Status);
        Assert.Equal(401, (await Sender.DeliverAsync(app, paid, signed: Paid("1", 6))).Status);
        Assert.Equal(401, (await Sender.DeliverAsync(app, paid, at: TimeSpan.FromMinutes(-6))).Status);
        Assert.Equal(401, (await Sender.DeliverAsync(app, paid, at: TimeSpan.FromMinutes(6))).Status);
        Assert.Equal(404, (await Sender.DeliverAsync(app, paid, source: "others")).Status);
        Assert.Equal(413, (await Sender.DeliverAsync(app, new string(' ', 2049) + paid)).Status);
        // Without a length that could be looked at before.
        Assert.Equal(
            413,
            (await Sender.DeliverAsync(app, new string(' ', 2049) + paid, change: r => r.Headers.TransferEncodingChunked = true)).Status
        );
        Assert.Equal(415, (await Sender.DeliverAsync(app, paid, type: "text/plain")).Status);
        using (var get = new HttpRequestMessage(HttpMethod.Get, new Uri($"{app.Ingress}/webhooks/payments")))
        {
            Assert.Equal(405, (await app.SendAsync(get)).Status);
        }
        // Each address serves its own.
        using (var runs = new HttpRequestMessage(HttpMethod.Get, new Uri($"{app.Ingress}/api/runs")))
        {
            Assert.Equal(404, (await app.SendAsync(runs)).Status);
        }
        Assert.Equal(404, (await app.PostAsync("/webhooks/payments", paid)).Status);
        Assert.Empty((await app.GetAsync("/api/inbox")).Items);
        Assert.DoesNotContain(Sender.Secret[6..], app.Log.Text, StringComparison.Ordinal);
        Assert.DoesNotContain("merchant-1", app.Log.Text, StringComparison.Ordinal);
    }

    private static (int, string?, string?) Told(Answer answer) =>
        (answer.Status, answer.Json.GetProperty("status").GetString(), answer.Json.GetProperty("id").GetString());

    private static string Paid(string order, int amount) => Sender.Paid(order, amount);

    private Task<WorkerApp> StartAsync(params (string Key, string? Value)[] more) =>
        WorkerApp.StartAsync(_folder.FullName, [.. Sender.Settings, .. more]);

    private static Task StateAsync(WorkerApp app, string id, string state) =>
        Eventually.Holds(
            async () => (await app.GetAsync($"/api/inbox/{id}")).Json.GetProperty("state").GetString() == state,
            what: $"event {id} is {state}"
        );

    private static async Task DoneAsync(WorkerApp app, string id)
    {
        JsonElement shown = default;
        await Eventually.Holds(
            async () => (shown = (await app.GetAsync($"/api/inbox/{id}")).Json).GetProperty("state").GetString() == "done",
            what: $"event {id} is done"
        );
        Assert.Equal(1, shown.GetProperty("attempts").GetInt32());
    }

    private async Task<T> QueryAsync<T>(string sql)
    {
        await using var connection = new SqliteConnection($"Data Source={_folder.FullName}/payments.db");
        return await connection.QuerySingleAsync<T>(sql);
    }
}
