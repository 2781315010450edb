using System.Globalization;
using Scheduler.Bench.Harness;
using Scheduler.Bench.Webhooks.Sending;
using Scheduler.Testing.Servers;

namespace Scheduler.Bench.Webhooks;

/// <summary>What a process has of memory, again and again while it takes in many requests. A quarter of them are new events.</summary>
internal sealed class MemoryMeasurements(Plan plan, Report report, WebhookStore store, WebhookServers servers, Sender sender)
{
    private const int Copies = 4;
    private const int Connections = 64;

    private static readonly TimeSpan LongestLoad = TimeSpan.FromSeconds(100);

    // An hour at 2,000 requests a second.
    private int Loads => plan.Quick ? 3 : 18;

    private int EventsOfLoad => plan.Quick ? 500 : 100_000;

    public async Task RunAsync()
    {
        var goals = new Dictionary<string, Goal>(StringComparer.Ordinal)
        {
            ["heap after a full collection, growth for a request"] = Goal.AtMost(1),
            ["working set, growth for a request"] = Goal.AtMost(5),
            ["errors"] = Goal.AtMost(0),
        };
        var section = new Section($"{store.Name}: memory while requests are taken in", null, goals);
        section.AddOurs(await MeasureAsync());
        report.Add(section);
    }

    private async Task<IReadOnlyList<Reading>> MeasureAsync()
    {
        var setup = new ReplicaSetup("a", FreePort.Next(), await servers.PlaceAsync(), Degree: 1, Holds: true);
        await using var replica = WebhookReplica.Start(setup);
        await replica.ExpectAsync("ready");
        await sender.SendAsync(new Load([setup.Url], "hold", HoldingHandler.Type, 1) { Connections = 1, Counted = LongestLoad });
        await replica.ExpectAsync(WebhookReplica.Held);
        var uses = new List<(long Answered, MemoryUse Use)>();
        var (answered, errors, seconds) = (0L, 0L, 0.0);
        for (var i = 0; i < Loads; i++)
        {
            var load = new Load([setup.Url], string.Create(CultureInfo.InvariantCulture, $"m{i}"), HoldingHandler.Type, EventsOfLoad);
            var result = await sender.SendAsync(load with { Connections = Connections, Copies = Copies, Counted = LongestLoad });
            (answered, errors, seconds) = (answered + result.Answered, errors + result.Errors, seconds + result.Seconds);
            await replica.TellAsync("memory");
            uses.Add((answered, await replica.ResultAsync<MemoryUse>()));
        }
        var (first, last) = (uses[(Loads / 3) - 1], uses[^1]);
        return
        [
            new("requests, a quarter of them new events", "", answered),
            new("requests", "1/s", answered / seconds),
            new("errors", "", errors),
            .. Of("heap after a full collection", u => u.Heap),
            .. Of("working set", u => u.WorkingSet),
        ];

        IEnumerable<Reading> Of(string what, Func<MemoryUse, double> part) =>
            [
                new($"{what}, after a third", "MB", part(first.Use)),
                new($"{what}, at the end", "MB", part(last.Use)),
                new($"{what}, growth for a request", "B", (part(last.Use) - part(first.Use)) * 1e6 / (last.Answered - first.Answered)),
            ];
    }
}
