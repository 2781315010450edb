using System.Collections.Concurrent;
using System.Diagnostics.Metrics;
using System.Globalization;
using System.Security.Cryptography;
using System.Text;
using Dapper;
using Microsoft.Data.Sqlite;
using Scheduler.Runs;
using Scheduler.Testing;
using Scheduler.Worker.Telemetry;

namespace Scheduler.Tests.Worker;

/// <summary>What people do with the inbox over HTTP, and what is kept of who asked; on a source whose event type is an unsigned
/// header.</summary>
public sealed partial class InboxHttpTests : IAsyncDisposable
{
    private const string Secret = "a secret of the test";
    private const string Paid = "payment.succeeded";
    private const string Refunded = "payment.refunded";
    private readonly DirectoryInfo _folder = Directory.CreateTempSubdirectory("scheduler-inbox-");

    public ValueTask DisposeAsync()
    {
        _folder.Delete(recursive: true);
        return ValueTask.CompletedTask;
    }

    [Fact]
    public async Task An_unsigned_header_finds_the_handler_and_makes_no_second_event()
    {
        await using var app = await StartAsync();
        var id = await DoneAsync(app, await DeliverAsync(app, Payment("1"), Paid));
        // Whoever sends the signed bytes again may say what he likes beside them.
        foreach (var type in (string[])[Paid, Refunded, "other", ""])
        {
            var again = await DeliverAsync(app, Payment("1"), type);
            Assert.Equal((200, "duplicate", id), (again.Status, Status(again), Id(again)));
        }
        Assert.Equal("ignored", Status(await DeliverAsync(app, Payment("2"), "other")));
        Assert.Equal(1, await QueryAsync<long>("SELECT count(*) FROM payments"));
        Assert.Equal(1, await QueryAsync<long>("SELECT count(*) FROM webhook_effects"));

        var shown = (await app.GetAsync($"/api/inbox/{id}")).Json;
        Assert.Equal((Paid, $"{Paid}:1"), (shown.GetProperty("type").GetString(), shown.GetProperty("dedupeKey").GetString()));
        var labels = shown.GetProperty("labels");
        Assert.Equal(("delivery-1", Paid), (labels.GetProperty("id").GetString(), labels.GetProperty("type").GetString()));
        Assert.Equal(2, (await app.GetAsync("/api/inbox?source=payments")).Items.Count);
        Assert.Equal(id, Assert.Single((await app.GetAsync($"/api/inbox?state=done&type={Paid}")).Items).GetProperty("id").GetString());
    }

    [Fact]
    public async Task Deliveries_are_counted_by_what_became_of_them()
    {
        var counted = new ConcurrentDictionary<string, long>();
        using var listener = new MeterListener();
        listener.InstrumentPublished = (instrument, l) =>
        {
            if (instrument.Name == WebhookMetrics.Name)
            {
                l.EnableMeasurementEvents(instrument);
            }
        };
        listener.SetMeasurementEventCallback<long>(
            (_, count, tags, _) =>
            {
                // Other tests deliver at the same time, to another source.
                if (tags[0].Value is "counted")
                {
                    counted.AddOrUpdate((string)tags[1].Value!, count, (_, sum) => sum + count);
                }
            }
        );
        listener.Start();
        await using var app = await StartAsync(
            ("Scheduler:Webhooks:Sources:counted:Scheme", "github"),
            ("Scheduler:Webhooks:Sources:counted:Secrets:0", Secret),
            ("Scheduler:Webhooks:Sources:counted:MaxBodyBytes", "1024")
        );
        foreach (var body in (string[])["{\"orderId\":1}", "{\"orderId\":1}", "{\"orderId\":1,\"a\":2}", "{", "{", new string(' ', 1_025)])
        {
            await DeliverAsync(app, body, Paid, "counted");
        }
        await DeliverAsync(app, "{\"orderId\":1}", Paid, "counted", "another secret");

        (string, long)[] expected = [("conflict", 1), ("duplicate", 1), ("ignored", 1), ("quarantined", 2), ("refused", 2)];
        Assert.Equal(expected, counted.OrderBy(c => c.Key, StringComparer.Ordinal).Select(c => (c.Key, c.Value)));
    }

    [Fact]
    public async Task A_done_event_is_replayed_with_force_and_its_effect_stays_one()
    {
        await using var app = await StartAsync();
        var id = await DoneAsync(app, await DeliverAsync(app, Payment("1"), Paid));
        var refused = await app.PostAsync($"/api/inbox/{id}/replay");
        Assert.Equal(409, refused.Status);
        Assert.Contains("force=true", Detail(refused), StringComparison.Ordinal);
        Assert.Equal(400, (await app.PostAsync($"/api/inbox/{id}/replay?force=yes")).Status);

        Assert.Equal(200, (await app.PostAsync($"/api/inbox/{id}/replay?force=true")).Status);
        await ShowsAsync(app, id, "done", attempts: 2);
        Assert.Equal(1, await QueryAsync<long>("SELECT count(*) FROM payments"));

        await app.Get<StateGuard>()
            .CallAsync(
                (s, token) => s.Inbox.DropBodiesAsync(TimeProvider.System.GetUtcNow().AddMinutes(1), 10, token),
                TestContext.Current.CancellationToken
            );
        var gone = await app.PostAsync($"/api/inbox/{id}/replay?force=true");
        Assert.Equal(409, gone.Status);
        Assert.Contains("KeepBodies", Detail(gone), StringComparison.Ordinal);
        Assert.False((await app.GetAsync($"/api/inbox/{id}")).Json.GetProperty("hasBody").GetBoolean());
        Assert.Equal("duplicate", Status(await DeliverAsync(app, Payment("1"), Paid)));
    }

    [Fact]
    public async Task A_quarantined_event_comes_out_once_the_options_are_right()
    {
        string id;
        await using (var wrong = await StartAsync(("Scheduler:Webhooks:Sources:payments:DedupeBy:0", "/order/id")))
        {
            var delivered = await DeliverAsync(wrong, Payment("1"), Paid);
            Assert.Equal("quarantined", Status(delivered));
            id = Id(delivered);
            Assert.Contains("force=true", Detail(await wrong.PostAsync($"/api/inbox/{id}/replay")), StringComparison.Ordinal);
            var still = await wrong.PostAsync($"/api/inbox/{id}/replay?force=true");
            Assert.Equal(409, still.Status);
            Assert.Contains("no key: /order/id is missing", Detail(still), StringComparison.Ordinal);
        }
        await using var app = await StartAsync();
        // Sent again it is what it was, and answered with 2xx.
        Assert.Equal(("quarantined", id), (Status(await DeliverAsync(app, Payment("1"), Paid)), id));
        // The sender has sent another event of the same order meanwhile.
        var other = await DoneAsync(app, await DeliverAsync(app, Payment("1", "pay_other"), Paid));
        var taken = await app.PostAsync($"/api/inbox/{id}/replay?force=true");
        Assert.Equal(409, taken.Status);
        Assert.Contains(other, Detail(taken), StringComparison.Ordinal);
        Assert.Contains("decision=ignore", Detail(taken), StringComparison.Ordinal);
        Assert.Equal("quarantined", (await app.GetAsync($"/api/inbox/{id}")).Json.GetProperty("state").GetString());
        // So it is dismissed.
        Assert.Equal("ignored", (await app.PostAsync($"/api/inbox/{id}/resolve?decision=ignore")).Json.GetProperty("state").GetString());
        var again = await app.PostAsync($"/api/inbox/{id}/resolve?decision=ignore");
        Assert.Equal(409, again.Status);
        Assert.Contains("This one is ignored", Detail(again), StringComparison.Ordinal);
        Assert.Contains(
            "Only a conflict",
            Detail(await app.PostAsync($"/api/inbox/{id}/resolve?decision=accept")),
            StringComparison.Ordinal
        );
    }

    [Fact]
    public async Task A_quarantined_and_an_ignored_event_are_processed_after_all()
    {
        string quarantined;
        await using (var wrong = await StartAsync(("Scheduler:Webhooks:Sources:payments:OrderBy:0", "/order/id")))
        {
            quarantined = Id(await DeliverAsync(wrong, Payment("1"), Paid));
            await DeliverAsync(wrong, "{", Paid);
            await DeliverAsync(wrong, Payment("3"), Paid);
        }
        await using var app = await StartAsync();
        Assert.Equal(200, (await app.PostAsync($"/api/inbox/{quarantined}/replay?force=true")).Status);
        await ShowsAsync(app, quarantined, "done", attempts: 1);
        Assert.Equal(1, await QueryAsync<long>("SELECT count(*) FROM payments WHERE order_id = '1'"));
        Assert.Equal(("duplicate", quarantined), Told(await DeliverAsync(app, Payment("1"), Paid)));

        // In bulk, those that can be processed now: what is no JSON stays what it is.
        var many = (await app.PostAsync("/api/inbox/replay?state=quarantined&force=true")).Json;
        Assert.Equal((1, 1), (many.GetProperty("changed").GetInt32(), many.GetProperty("left").GetInt32()));
        await Eventually.Holds(
            async () => await QueryAsync<long>("SELECT count(*) FROM payments WHERE order_id = '3'") == 1,
            what: "the payment of order 3 is there"
        );
        Assert.Single((await app.GetAsync("/api/inbox?state=quarantined")).Items);

        var ignored = Id(await DeliverAsync(app, Payment("2"), "other"));
        var nobody = await app.PostAsync($"/api/inbox/{ignored}/replay?force=true");
        Assert.Equal(409, nobody.Status);
        Assert.Contains("No handler takes the type 'other'", Detail(nobody), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Events_are_replayed_in_bulk_and_page_by_page()
    {
        await using var app = await StartAsync(("Scheduler:Webhooks:Sources:payments:MaxAttempts", "1"));
        // There is nothing to give back, so they are dead at once.
        var ids = new List<string>();
        foreach (var order in (string[])["1", "2", "3"])
        {
            ids.Add(
                Id(await DeliverAsync(app, $$"""{"orderId":"{{order}}","paymentId":"p","refundedAt":"2026-01-31T13:00:00Z"}""", Refunded))
            );
            await ShowsAsync(app, ids[^1], "dead", attempts: 1);
        }
        Assert.Equal(409, (await app.PostAsync("/api/inbox/replay?state=done")).Status);
        Assert.Equal(409, (await app.PostAsync("/api/inbox/replay?state=quarantined")).Status);
        Assert.Equal(400, (await app.PostAsync("/api/inbox/replay?state=conflict")).Status);
        Assert.Equal(400, (await app.PostAsync("/api/inbox/replay?limit=1001")).Status);
        Assert.Equal(0, (await app.PostAsync("/api/inbox/replay?source=others")).Json.GetProperty("changed").GetInt32());
        Assert.Equal(0, (await app.PostAsync($"/api/inbox/replay?type={Paid}")).Json.GetProperty("changed").GetInt32());

        var first = (await app.PostAsync($"/api/inbox/replay?source=payments&state=dead&type={Refunded}&limit=2")).Json;
        Assert.Equal((2, 0), (first.GetProperty("changed").GetInt32(), first.GetProperty("left").GetInt32()));
        var rest = (await app.PostAsync($"/api/inbox/replay?limit=2&cursor={first.GetProperty("next").GetString()}")).Json;
        Assert.Equal((1, null), (rest.GetProperty("changed").GetInt32(), rest.GetProperty("next").GetString()));
        foreach (var id in ids)
        {
            await ShowsAsync(app, id, "dead", attempts: 2);
        }
    }

    [Fact]
    public async Task Events_of_a_type_whose_handler_is_gone_are_ignored_in_bulk()
    {
        await using var app = await StartAsync();
        var ids = new List<string>();
        foreach (var order in (string[])["1", "2", "3"])
        {
            // As it was stored while there was a handler, which the next build has no more.
            ids.Add(Id(await DeliverAsync(app, Payment(order), "former")));
        }
        await using (var connection = new SqliteConnection($"Data Source={_folder.FullName}/state.db"))
        {
            await connection.ExecuteAsync("UPDATE inbox SET state = 'received', due_at = 0, finished_at = NULL");
        }
        Assert.Equal(400, (await app.PostAsync("/api/inbox/resolve?decision=ignore")).Status);
        Assert.Equal(400, (await app.PostAsync("/api/inbox/resolve?decision=ignore&state=done")).Status);
        Assert.Equal(400, (await app.PostAsync("/api/inbox/resolve?decision=accept&state=received")).Status);
        var none = (await app.PostAsync($"/api/inbox/resolve?decision=ignore&state=received&type={Paid}")).Json;
        Assert.Equal(0, none.GetProperty("changed").GetInt32());

        var first = (await app.PostAsync("/api/inbox/resolve?decision=ignore&state=received&source=payments&type=former&limit=2")).Json;
        Assert.Equal((2, 0), (first.GetProperty("changed").GetInt32(), first.GetProperty("left").GetInt32()));
        var rest = (await app.PostAsync($"/api/inbox/resolve?decision=ignore&state=received&cursor={first.GetProperty("next")}")).Json;
        Assert.Equal((1, null), (rest.GetProperty("changed").GetInt32(), rest.GetProperty("next").GetString()));
        foreach (var id in ids)
        {
            await ShowsAsync(app, id, "ignored", attempts: 0);
        }
        Assert.Equal("1 events", (await app.GetAsync("/api/audit?limit=1")).Items[0].GetProperty("detail").GetString());
    }

    [Fact]
    public async Task Who_asked_for_a_change_is_kept_with_what_became_of_it()
    {
        await using var app = await StartAsync(("Scheduler:Jobs:talk:Type", "TalkingJob"), ("Scheduler:Jobs:talk:Every", "01:00:00"));
        await app.PostAsync("/api/inbox/none/resolve?decision=accept");
        await app.PostAsync("/api/inbox/none/resolve?decision=both");
        await app.PostAsync("/api/jobs/talk/pause");
        await app.PostAsync("/api/jobs/talk/resume");
        var run = await app.PostAsync("/api/jobs/talk/trigger", """{"data":{"password":"hunter2"}}""");
        await app.PostAsync("/api/runs/none/retry");
        await app.PostAsync("/api/inbox/replay?state=dead");
        // A look changes nothing.
        await app.GetAsync("/api/inbox");

        var entries = (await app.GetAsync("/api/audit")).Items;
        Assert.Equal(
            [
                ("replay", "inbox", "state=dead", 200, "0 events"),
                ("retry", "run none", null, 404, "There is no run with this id in the group; runs are deleted after State:KeepRuns."),
                ("trigger", "job talk", null, 202, $"run {Id(run)}"),
                ("resume", "job talk", null, 200, null),
                ("pause", "job talk", null, 200, null),
                ("resolve", "event none", "decision=both", 400, "decision must be keepFirst or accept or ignore"),
                ("resolve", "event none", "decision=accept", 404, "There is no event with this id in the group's inbox."),
            ],
            entries.Select(e =>
                (
                    e.GetProperty("action").GetString(),
                    e.GetProperty("target").GetString(),
                    e.GetProperty("parameters").GetString(),
                    e.GetProperty("outcome").GetInt32(),
                    e.GetProperty("detail").GetString()
                )
            )
        );
        Assert.All(entries, e => Assert.Equal("127.0.0.1", e.GetProperty("who").GetString()));
        Assert.All(entries, e => Assert.StartsWith("w1", e.GetProperty("replica").GetString(), StringComparison.Ordinal));

        var page = await app.GetAsync("/api/audit?limit=6");
        Assert.Equal(6, page.Items.Count);
        Assert.Single((await app.GetAsync($"/api/audit?limit=6&before={page.Next}")).Items);
        Assert.Equal(400, (await app.GetAsync("/api/audit?before=x")).Status);
        Assert.Equal(400, (await app.GetAsync("/api/audit?cursor=x")).Status);
    }

    private static string Payment(string order, string? payment = null) =>
        $$"""
            {"orderId":"{{order}}","paymentId":"{{payment ?? "pay_" + order}}","merchantId":"merchant-1","amountMinor":5,
            "currency":"EUR","paidAt":"2026-01-31T12:00:00Z"}
            """;

    private static string? Status(Answer answer) => answer.Json.GetProperty("status").GetString();

    private static string Id(Answer answer) => answer.Json.GetProperty("id").GetString()!;

    private static (string?, string) Told(Answer answer) => (Status(answer), Id(answer));

    private static string Detail(Answer answer) => answer.Json.GetProperty("detail").GetString()!;

    private Task<WorkerApp> StartAsync(params (string Key, string? Value)[] more) =>
        WorkerApp.StartAsync(
            _folder.FullName,
            [("Scheduler:Webhooks:Sources:payments:Scheme", "github"), ("Scheduler:Webhooks:Sources:payments:Secrets:0", Secret), .. more]
        );

    private static async Task<Answer> DeliverAsync(
        WorkerApp app,
        string body,
        string type,
        string source = "payments",
        string secret = Secret
    )
    {
        var bytes = Encoding.UTF8.GetBytes(body);
        var signature = HMACSHA256.HashData(Encoding.UTF8.GetBytes(secret), bytes);
        using var request = new HttpRequestMessage(HttpMethod.Post, new Uri($"{app.Ingress}/webhooks/{source}"));
        request.Content = new ByteArrayContent(bytes);
        request.Headers.Add("X-Hub-Signature-256", $"sha256={Convert.ToHexStringLower(signature)}");
        request.Headers.Add("X-GitHub-Delivery", "delivery-1");
        if (type.Length > 0)
        {
            request.Headers.Add("X-GitHub-Event", type);
        }
        return await app.SendAsync(request);
    }

    private static async Task<string> DoneAsync(WorkerApp app, Answer delivered)
    {
        Assert.Equal((202, "accepted"), (delivered.Status, Status(delivered)));
        await ShowsAsync(app, Id(delivered), "done", attempts: 1);
        return Id(delivered);
    }

    private static Task ShowsAsync(WorkerApp app, string id, string state, int? attempts = null) =>
        Eventually.Holds(
            async () =>
            {
                var shown = (await app.GetAsync($"/api/inbox/{id}")).Json;
                return shown.GetProperty("state").GetString() == state
                    && (attempts is null || shown.GetProperty("attempts").GetInt32() == attempts);
            },
            what: string.Create(CultureInfo.InvariantCulture, $"event {id} is {state} after attempt {attempts}")
        );

    private async Task<T> QueryAsync<T>(string sql)
    {
        await using var connection = new SqliteConnection($"Data Source={_folder.FullName}/payments.db");
        return await connection.QuerySingleAsync<T>(sql);
    }
}
