using System.Collections.Concurrent;
using System.Globalization;
using System.Text.Json;
using Microsoft.Data.Sqlite;
using Scheduler.EndToEnd.Harness;
using Scheduler.Testing;
using Scheduler.Testing.Webhooks;

namespace Scheduler.EndToEnd.Scenarios;

/// <summary>Payments and refunds, each delivered one to five times to different replicas, of which one is killed in the middle;
/// contradictions and deliveries that are not genuine among them.</summary>
public sealed class WebhookTests : Scenario
{
    private const int Orders = 100;
    private const string Payment = "payment.succeeded";
    private const string Refund = "payment.refunded";

    private static readonly SoakPlan Plan = new(Orders, Steps: 2, Body)
    {
        Senders = 8,
        LateCopies = 40,
        EveryConflict = 10,
        EveryForgery = 10,
        EveryOversize = 25,
    };

    [Fact]
    public Task Each_event_has_one_effect_in_its_order() => OnAsync([Backends.Sqlite, Backends.RedisPostgres], StartAsync, PlayAsync);

    private async Task<WorkerGroup> StartAsync(Backends backends)
    {
        var group = WithPayments(await GroupAsync(backends))
            .With("Scheduler__Webhooks__Sources__payments__MaxBodyBytes", Plan.MaxBodyBytes.ToString(CultureInfo.InvariantCulture));
        if (backends != Backends.Sqlite)
        {
            group.With("Scheduler__State__ListenConnectionString", group.Place.Settings["Scheduler__State__ConnectionString"]);
        }
        await group.StartThreeAsync();
        foreach (var worker in backends == Backends.Sqlite ? [] : group.Running)
        {
            await Eventually.Holds(() => worker.Output.Contains("Signals of other replicas are heard", StringComparison.Ordinal));
        }
        return group;
    }

    /// <summary>Adds the source <c>payments</c>, for deliveries that <see cref="Signer"/> signs.</summary>
    internal static WorkerGroup WithPayments(WorkerGroup group) =>
        group
            .With("Scheduler__Webhooks__Sources__payments__Scheme", "standard-webhooks")
            .With("Scheduler__Webhooks__Sources__payments__Secrets__0", Signer.Secret);

    private static async Task PlayAsync(WorkerGroup group)
    {
        IReadOnlyList<string> urls = [.. group.Running.Select(w => w.Ingress.ToString())];
        using var courier = new Courier(() => Volatile.Read(ref urls));
        var findings = new ConcurrentQueue<string>();
        var traffic = new SoakTraffic(courier, Plan, findings.Enqueue);
        await NoteEffectsAsync(group, courier);

        var sent = traffic.RunAsync();
        await Eventually.Holds(() => traffic.Sent > Orders / 3, TimeSpan.FromSeconds(60));
        var killed = group.Started.Single(w => w.Name == "c");
        killed.Kill9();
        var next = group.Start("d");
        Volatile.Write(ref urls, [.. urls.Where(u => u != killed.Ingress.ToString()), next.Ingress.ToString()]);
        await sent;

        var rows = new List<Row>();
        await Eventually.Holds(
            async () => (rows = await RowsAsync(group)).TrueForAll(r => r.Kept.State is "done" or "conflict"),
            TimeSpan.FromSeconds(60),
            every: TimeSpan.FromMilliseconds(200)
        );
        var effects = await EffectsAsync(group, rows);
        var check = SoakCheck.Compare(traffic.Events, traffic.Conflicts, [.. rows.Select(r => r.Kept)], effects, findings.Enqueue);

        Assert.True(findings.IsEmpty, $"In {group.Folder}:\n{string.Join('\n', findings)}");
        Assert.Equal(new SoakCheck(0, 0, 0, 0, 0, 0), check);
        // A refund that is handled before its payment fails, and would come again.
        Assert.All(group.Started, w => Assert.DoesNotContain("no such payment", w.Output, StringComparison.Ordinal));
        // What it was about happened: all events, copies of many, contradictions, refusals; and more than one replica had effects.
        Assert.Equal((Orders * 2, Orders / 10), (effects.Count, traffic.Conflicts.Count));
        Assert.Equal((3 * (Orders / 10)) + (Orders / 25), traffic.Refused);
        Assert.InRange(traffic.Duplicates, Orders, 4 * 2 * Orders);
        Assert.InRange(effects.Select(e => e.Replica).Distinct(StringComparer.Ordinal).Count(), 2, 4);
        await group.StopAllAsync();
    }

    private static string Body(int step, string order, long index)
    {
        var common = string.Create(
            CultureInfo.InvariantCulture,
            $"\"orderId\":\"{order}\",\"paymentId\":\"pay_{order}\",\"index\":{index}"
        );
        return step == 1
            ? $$"""
                {"type":"{{Payment}}",{{common}},"merchantId":"m","amountMinor":100,"currency":"EUR","method":"card",
                "paidAt":"2026-01-31T12:00:00Z"}
                """
            : $$"""{"type":"{{Refund}}",{{common}},"refundedAt":"2026-01-31T13:00:00Z"}""";
    }

    /// <summary>Lets the database note each try to have an effect, in the order of the commits, whatever it is then guarded by: an insert
    /// that meets a row calls its trigger as well. The tables are made by the first event.</summary>
    private static async Task NoteEffectsAsync(WorkerGroup group, Courier courier)
    {
        Assert.Equal("accepted", (await courier.DeliverAsync(Signer.Request("first", Body(1, "first", 0)), 0)).Word);
        await Eventually.Holds(async () => (await RowsAsync(group, "first")) is [{ Kept.State: "done" }]);
        await using var connection = await PaymentsAsync(group);
        await using var command = connection.CreateCommand();
        command.CommandText = $"""
            CREATE TABLE noted (seq INTEGER PRIMARY KEY AUTOINCREMENT, type TEXT NOT NULL, order_id TEXT NOT NULL);
            CREATE TRIGGER noted_payment BEFORE INSERT ON payments
              BEGIN INSERT INTO noted (type, order_id) VALUES ('{Payment}', new.order_id); END;
            CREATE TRIGGER noted_refund BEFORE INSERT ON refunds
              BEGIN INSERT INTO noted (type, order_id) VALUES ('{Refund}', new.order_id); END;
            """;
        await command.ExecuteNonQueryAsync(TestContext.Current.CancellationToken);
    }

    private static async Task<List<EffectRow>> EffectsAsync(WorkerGroup group, List<Row> rows)
    {
        var events = rows.Where(r => r.Kept.State != "conflict").ToLookup(r => (r.Type, r.Kept.OrderKey));
        var effects = new List<EffectRow>();
        await using var connection = await PaymentsAsync(group);
        await using var command = connection.CreateCommand();
        command.CommandText = "SELECT seq, type, order_id FROM noted ORDER BY seq";
        await using var reader = await command.ExecuteReaderAsync(TestContext.Current.CancellationToken);
        while (await reader.ReadAsync(TestContext.Current.CancellationToken))
        {
            var (seq, type, order) = (reader.GetInt64(0), reader.GetString(1), reader.GetString(2));
            var of = events[(type, order)].FirstOrDefault();
            effects.Add(new EffectRow(seq, order, of?.Kept.EventId ?? $"{type} {order}", of?.Kept.Number ?? 0, of?.Replica ?? ""));
        }
        return effects;
    }

    /// <summary>The inbox, without the event that made the tables, or that one alone.</summary>
    private static async Task<List<Row>> RowsAsync(WorkerGroup group, string? only = null)
    {
        var page = await group.Any.GetAsync("/api/inbox?limit=1000");
        Assert.Equal(JsonValueKind.Null, page.GetProperty("next").ValueKind);
        return
        [
            .. page.GetProperty("items")
                .EnumerateArray()
                .Select(e => new Row(
                    new InboxRow(e.GetProperty("number").GetInt64(), Text(e, "state")!, Text(e, "eventId"), Text(e, "orderKey")),
                    Text(e, "type"),
                    Text(e, "replica")
                ))
                .Where(r => r.Kept.OrderKey == "first" == (only is not null)),
        ];
    }

    private static string? Text(JsonElement shown, string name) => shown.GetProperty(name).GetString();

    private static async Task<SqliteConnection> PaymentsAsync(WorkerGroup group)
    {
        var connection = new SqliteConnection($"Data Source={Path.Combine(group.Folder, "payments.db")};Pooling=False");
        await connection.OpenAsync(TestContext.Current.CancellationToken);
        return connection;
    }

    private sealed record Row(InboxRow Kept, string? Type, string? Replica);
}
