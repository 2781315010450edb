using System.Globalization;
using System.Net.Http.Headers;
using System.Security.Cryptography;
using System.Text;
using Microsoft.Data.Sqlite;
using Scheduler.EndToEnd.Harness;
using Scheduler.Testing;

namespace Scheduler.EndToEnd.Scenarios;

/// <summary>Payments and refunds, delivered several times at once to different replicas, of which one is killed in the middle.</summary>
public sealed class WebhookTests : Scenario
{
    private const int Orders = 200;
    private const int Senders = 8;
    private const string Secret = "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    private static readonly HttpClient Http = new() { Timeout = TimeSpan.FromSeconds(10) };

    [Fact]
    public Task Each_event_has_one_effect_in_its_order() => OnAsync([Backends.Sqlite, Backends.RedisPostgres], StartAsync, PlayAsync);

    private async Task<WorkerGroup> StartAsync(Backends backends)
    {
        var group = WithPayments(await GroupAsync(backends));
        if (backends == Backends.Sqlite)
        {
            await group.StartThreeAsync();
            return group;
        }
        group.With("Scheduler__State__ListenConnectionString", group.Place.Settings["Scheduler__State__ConnectionString"]);
        await group.StartThreeAsync();
        foreach (var worker in group.Running)
        {
            await Eventually.Holds(() => worker.Output.Contains("Signals of other replicas are heard", StringComparison.Ordinal));
        }
        return group;
    }

    /// <summary>Adds the source <c>payments</c>.</summary>
    internal static WorkerGroup WithPayments(WorkerGroup group) =>
        group
            .With("Scheduler__Webhooks__Sources__payments__Scheme", "standard-webhooks")
            .With("Scheduler__Webhooks__Sources__payments__Secrets__0", $"whsec_{Secret}");

    private static async Task PlayAsync(WorkerGroup group)
    {
        var accepted = 0;
        var sent = Task.WhenAll(
            Enumerable
                .Range(0, Senders)
                .Select(sender =>
                    Task.Run(async () =>
                    {
                        for (var order = sender; order < Orders; order += Senders)
                        {
                            // A refund is sent when the payment was answered; its copies come beside it.
                            Interlocked.Add(ref accepted, await DeliverAsync(group, order, "payment.succeeded", sender));
                            if (order % 2 == 0)
                            {
                                Interlocked.Add(ref accepted, await DeliverAsync(group, order, "payment.refunded", sender));
                            }
                        }
                    })
                )
        );
        await Eventually.Holds(() => Volatile.Read(ref accepted) > Orders / 4, TimeSpan.FromSeconds(60));
        group.Started.Single(w => w.Name == "c").Kill9();
        group.Start("d");
        await sent;

        const int Events = Orders + (Orders / 2);
        // The answer of a replica that was killed may be lost; the next copy is a duplicate then.
        Assert.InRange(accepted, Events - (3 * Senders), Events);
        await Eventually.Holds(
            async () => (await group.Any.GetAsync("/api/inbox?state=done&limit=1000")).GetProperty("items").GetArrayLength() == Events,
            TimeSpan.FromSeconds(60),
            every: TimeSpan.FromMilliseconds(200)
        );
        Assert.Empty((await group.Any.GetAsync("/api/inbox?state=dead")).GetProperty("items").EnumerateArray());
        Assert.Empty((await group.Any.GetAsync("/api/inbox?state=conflict")).GetProperty("items").EnumerateArray());

        // A refund that came before its payment would have failed, and one that was applied twice would have found none.
        Assert.Equal(Events, await CountAsync(group, "webhook_effects"));
        Assert.Equal(Orders / 2, await CountAsync(group, "refunds"));
        Assert.Equal(Orders / 2, await CountAsync(group, "payments"));
        await group.StopAllAsync();
    }

    /// <summary>Delivers one to three copies at once, each to another replica until one answers.</summary>
    /// <returns>How many were answered as accepted: one, whichever it was.</returns>
    private static async Task<int> DeliverAsync(WorkerGroup group, int order, string type, int sender)
    {
        var shown = order.ToString(CultureInfo.InvariantCulture);
        var body = $$"""
            {"type":"{{type}}","orderId":"{{shown}}","paymentId":"pay_{{shown}}","merchantId":"m","amountMinor":100,"currency":"EUR",
            "paidAt":"2026-01-31T12:00:00Z","refundedAt":"2026-01-31T13:00:00Z"}
            """;
        var copies = 1 + ((order + sender) % 3);
        var answers = await Task.WhenAll(
            Enumerable.Range(0, copies).Select(copy => UntilAnsweredAsync(group, $"{type.Replace('.', '-')}-{shown}", body, order + copy))
        );
        Assert.All(answers, a => Assert.True(a is "accepted" or "duplicate", a));
        return answers.Count(a => a == "accepted");
    }

    private static async Task<string> UntilAnsweredAsync(WorkerGroup group, string id, string body, int first)
    {
        string? status = null;
        var attempt = first;
        await Eventually.Holds(
            async () =>
            {
                var running = group.Running;
                var worker = running[attempt++ % running.Count];
                try
                {
                    using var response = await Http.SendAsync(Signed(worker, id, body), TestContext.Current.CancellationToken);
                    var text = await response.Content.ReadAsStringAsync(TestContext.Current.CancellationToken);
                    Assert.True((int)response.StatusCode is 200 or 202 or 503, $"{(int)response.StatusCode}: {text}");
                    status = response.IsSuccessStatusCode
                        ? System.Text.Json.JsonDocument.Parse(text).RootElement.GetProperty("status").GetString()
                        : null;
                }
                catch (HttpRequestException)
                {
                    // It was killed, or has not started yet: the event goes to another one.
                }
                return status is not null;
            },
            TimeSpan.FromSeconds(60),
            every: TimeSpan.FromMilliseconds(20)
        );
        return status!;
    }

    /// <summary>A signed delivery to the source <c>payments</c> of a worker that was set up by <see cref="WithPayments"/>.</summary>
    internal static HttpRequestMessage Signed(WorkerProcess worker, string id, string body)
    {
        var time = TimeProvider.System.GetUtcNow().ToUnixTimeSeconds().ToString(CultureInfo.InvariantCulture);
        var signature = HMACSHA256.HashData(Convert.FromBase64String(Secret), Encoding.UTF8.GetBytes($"{id}.{time}.{body}"));
        var request = new HttpRequestMessage(HttpMethod.Post, new Uri(worker.Ingress, "/webhooks/payments"))
        {
            Content = new ByteArrayContent(Encoding.UTF8.GetBytes(body)),
        };
        request.Content.Headers.ContentType = new MediaTypeHeaderValue("application/json");
        request.Headers.Add("webhook-id", id);
        request.Headers.Add("webhook-timestamp", time);
        request.Headers.Add("webhook-signature", $"v1,{Convert.ToBase64String(signature)}");
        return request;
    }

    private static async Task<long> CountAsync(WorkerGroup group, string table)
    {
        await using var connection = new SqliteConnection($"Data Source={Path.Combine(group.Folder, "payments.db")}");
        await connection.OpenAsync(TestContext.Current.CancellationToken);
        await using var command = connection.CreateCommand();
#pragma warning disable CA2100 // A name of this test.
        command.CommandText = $"SELECT count(*) FROM {table}";
#pragma warning restore CA2100
        return (long)(await command.ExecuteScalarAsync(TestContext.Current.CancellationToken))!;
    }
}
