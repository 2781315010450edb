using System.Collections.Concurrent;
using System.Diagnostics.Metrics;
using System.Security.Cryptography;
using System.Text;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Abstractions;
using Scheduler.Inbox;
using Scheduler.Runs;
using Scheduler.Testing;
using Scheduler.Tests.Sqlite;
using Scheduler.Webhooks.Processing;
using Scheduler.Webhooks.Telemetry;

namespace Scheduler.Tests.Webhooks;

/// <summary>What waits in the inbox shows as gauges that go down again, and a type that nobody handles is told.</summary>
public sealed class InboxWatchTests : IAsyncDisposable
{
    private const int Unhandled = 6006;
    private readonly StateFolder _files = new();
    private readonly LogCapture _log = new();
    private readonly MeterListener _listener = new();
    private readonly ConcurrentDictionary<(string Gauge, string Source), double> _values = new();
    private readonly ReplicaIdentity _replica = ReplicaIdentity.Create($"watch-{Guid.NewGuid():n}");
    private int _looks;

    public InboxWatchTests()
    {
        _listener.InstrumentPublished = static (instrument, listener) =>
        {
            if (instrument.Meter.Name == "Scheduler" && instrument.Name.StartsWith("scheduler.inbox.", StringComparison.Ordinal))
            {
                listener.EnableMeasurementEvents(instrument);
            }
        };
        _listener.SetMeasurementEventCallback<int>((instrument, value, tags, _) => Note(instrument, value, tags));
        _listener.SetMeasurementEventCallback<double>((instrument, value, tags, _) => Note(instrument, value, tags));
        _listener.Start();
    }

    public async ValueTask DisposeAsync()
    {
        _listener.Dispose();
        _log.Dispose();
        await _files.DisposeAsync();
    }

    [Fact]
    public async Task What_waits_is_shown_by_source_and_a_type_without_a_handler_after_a_while()
    {
        var state = await _files.OpenAsync();
        await using var guard = new StateGuard(state, TimeSpan.FromSeconds(5), TimeSpan.FromSeconds(1), _files.Time, NullLogger.Instance);
        await guard.OpenAsync(Stop);
        await state.Inbox.AddAsync([Arrival("1", "paid"), Arrival("1", "former"), Arrival("2", "former"), Unreadable()], null, Stop);
        await state.Inbox.AddAsync([Arrival("2", "former") with { BodyHash = Hash("x"), ContentHash = Hash("x") }], null, Stop);
        var routes = new WebhookRoutes([new WebhookRoute("shop", "paid", static (_, _, _, _) => new(WebhookResult.Done))]);
        var metrics = new InboxMetrics(_replica);
        using var watch = new InboxWatch(guard, routes, ["shop", "bank"], metrics, _files.Time, new Logger<InboxWatch>(_log));
        await watch.StartAsync(Stop);

        await UntilAsync(() => Value("waiting") == 3 && Value("quarantined", "bank") == 1);
        Assert.Equal((0, 1, 0, 0), (Value("dead"), Value("conflicts"), Value("unhandled"), Value("waiting", "bank")));
        Assert.Equal(0, _log.Count(Unhandled));

        // The first of order 1 is dead; it and what is behind it are no more due than what was handled.
        var claim = (await state.Inbox.ClaimAsync(new("r", [new("shop", "paid", false)], 10, TimeSpan.FromSeconds(10)), Stop))[0];
        await state.Inbox.FinishAsync([new(claim.Event.Id, claim.Event.Attempts, InboxState.Dead)], Stop);
        _files.Time.Advance(InboxWatch.Patience);
        await UntilAsync(() => Value("unhandled") > 0 && Value("dead") == 1 && _log.Count(Unhandled) > 0);
        Assert.InRange(Value("oldest_due")!.Value, InboxWatch.Patience.TotalSeconds, InboxWatch.Patience.TotalSeconds + 120);
        var told = Assert.Single(_log.Entries, e => e.Id.Id == Unhandled).Message;
        Assert.Contains("source shop and type 'former'", told, StringComparison.Ordinal);

        // Said again after a while, and not with each look.
        var seen = _looks;
        await UntilAsync(() => _looks > seen + 1);
        Assert.Equal(1, _log.Count(Unhandled));
        _files.Time.Advance(TimeSpan.FromMinutes(10));
        await UntilAsync(() => _log.Count(Unhandled) == 2);

        // A person's decisions end it.
        var all = (await state.Inbox.ListAsync(new InboxQuery(), Stop)).Items;
        foreach (var conflict in all.Where(e => e.State == InboxState.Conflict))
        {
            await state.Inbox.ResolveAsync(conflict.Id, accept: false, Stop);
        }
        await state.Inbox.IgnoreAsync([.. all.Where(e => e.State != InboxState.Conflict).Select(e => e.Id)], Stop);
        await UntilAsync(() => Gauges.All(g => Value(g) == 0 && Value(g, "bank") == 0));
        await watch.StopAsync(Stop);
    }

    private static readonly string[] Gauges = ["waiting", "oldest_due", "dead", "conflicts", "quarantined", "unhandled"];

    private static CancellationToken Stop => TestContext.Current.CancellationToken;

    private Task UntilAsync(Func<bool> condition) =>
        Eventually.Holds(() =>
        {
            if (condition())
            {
                return true;
            }
            _files.Time.Advance(TimeSpan.FromSeconds(1));
            return false;
        });

    private void Note(Instrument instrument, double value, ReadOnlySpan<KeyValuePair<string, object?>> tags)
    {
        if (tags[0].Value is not string replica || replica != _replica.Name)
        {
            return;
        }
        _values[(instrument.Name, (string)tags[1].Value!)] = value;
        if (instrument.Name == "scheduler.inbox.unhandled")
        {
            Interlocked.Increment(ref _looks);
        }
    }

    private double? Value(string gauge, string source = "shop") =>
        _values.TryGetValue(($"scheduler.inbox.{gauge}", source), out var value) ? value : null;

    private InboxArrival Arrival(string order, string type) =>
        new()
        {
            Source = "shop",
            Type = type,
            DedupeKey = $"{type}:{order}",
            OrderKey = order,
            BodyHash = Hash($"{type} {order}"),
            ContentHash = Hash($"{type} {order}"),
            Body = "{}"u8.ToArray(),
            ReceivedAt = _files.Time.GetUtcNow(),
        };

    private InboxArrival Unreadable() =>
        Arrival("", "") with
        {
            Source = "bank",
            State = InboxState.Quarantined,
            DedupeKey = null,
            OrderKey = null,
            Reason = "no JSON",
        };

    private static byte[] Hash(string text) => SHA256.HashData(Encoding.UTF8.GetBytes(text));
}
