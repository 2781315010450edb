using System.Globalization;
using Scheduler.Bench.Harness;
using Scheduler.Bench.Webhooks.Floor;
using Scheduler.Bench.Webhooks.Sending;
using Scheduler.Testing.Servers;

namespace Scheduler.Bench.Webhooks;

/// <summary>
/// What one process takes in, beside hand-written receivers, each in a process of its own. Events are stored as those to be processed, and
/// are not: a handler that does not end has the only place.
/// </summary>
internal sealed class IngestMeasurements(Plan plan, Report report, WebhookStore store, WebhookServers servers, Sender sender)
{
    private const int SteadyRate = 2_000;
    private const int MostEvents = 300_000;

    // A receiver is more code than a lock: after one of them the compiler still takes a fifth of its processor.
    private int CompileTimes => plan.Quick ? 1 : 3;

    private static readonly FloorKind[] Groups = [FloorKind.OneWriter, FloorKind.TwoWriters];

    private readonly int[] _connections = [64, 256];
    private int _loads;

    private static readonly Dictionary<string, Goal> BesideGroups = new(StringComparer.Ordinal)
    {
        ["256 connections: requests"] = Goal.RatioAtLeast(0.8),
        ["64 connections: p99"] = Goal.AtMost(25),
        ["2,000 requests/s: p99"] = Goal.AtMost(10),
        ["errors"] = Goal.AtMost(0),
    };

    private static readonly Dictionary<string, Goal> BesideRows = new(StringComparer.Ordinal)
    {
        ["256 connections: requests"] = Goal.RatioAtLeast(2.5),
    };

    public async Task RunAsync()
    {
        var ours = new ReplicaSetup("a", FreePort.Next(), await servers.PlaceAsync(), Degree: 1, Holds: true);
        await using var replica = WebhookReplica.Start(ours);
        await replica.ExpectAsync("ready");
        var floors = new Dictionary<FloorKind, (FloorSetup Setup, Child Child)>();
        try
        {
            foreach (var kind in Enum.GetValues<FloorKind>().Where(k => store.IsNetworked || k != FloorKind.TwoWriters))
            {
                var setup = new FloorSetup(kind, FreePort.Next(), store.State, await servers.RawAddressAsync());
                floors[kind] = (setup, FloorServer.Start(setup));
                await floors[kind].Child.ExpectAsync("ready");
            }
            await SendAsync(ours.Url, 1, new Load([], "", "", 1) { Counted = TimeSpan.FromSeconds(1) });
            await replica.ExpectAsync(WebhookReplica.Held);
            await MeasureAsync(ours.Url, floors.ToDictionary(f => f.Key, f => f.Value.Setup.Url));
        }
        finally
        {
            foreach (var (_, child) in floors.Values)
            {
                await child.DisposeAsync();
            }
        }
    }

    private async Task MeasureAsync(string ours, Dictionary<FloorKind, string> floors)
    {
        var groups = new Section($"{store.Name}: ingest", GroupsName(), BesideGroups);
        var rows = new Section($"{store.Name}: ingest", $"one INSERT … ON CONFLICT for each request, {store.Durable}", BesideRows);
        var nothing = new Section($"{store.Name}: ingest", "signature and keys, nothing stored");
        foreach (var url in (string[])[ours, .. floors.Values])
        {
            for (var i = 0; i < CompileTimes; i++)
            {
                await SaturateAsync(url, 64, plan.Compile, TimeSpan.FromMilliseconds(100));
            }
        }
        for (var round = 1; round <= plan.Rounds; round++)
        {
            var found = await MeasureAsync(ours);
            var byKind = new Dictionary<FloorKind, IReadOnlyList<Reading>>();
            foreach (var (kind, url) in floors)
            {
                byKind[kind] = await MeasureAsync(url);
                report.Check(byKind[kind][^1].Value == 0, $"{store.Name}: the floor {kind} answered with errors.");
            }
            groups.AddOurs(found);
            groups.AddFloor(Better(byKind));
            rows.AddOurs(found);
            rows.AddFloor(WithoutErrors(byKind[FloorKind.Rows]));
            nothing.AddOurs(found);
            nothing.AddFloor(WithoutErrors(byKind[FloorKind.Nothing]));
        }
        report.Add(groups);
        report.Add(rows);
        report.Add(nothing);
    }

    private string GroupsName() =>
        store.IsNetworked
            ? $"the better of hand-written group commits with one and two writers (unnest), {store.Durable}"
            : $"a hand-written group commit on the one connection that writes, {store.Durable}";

    /// <summary>Row by row the better one.</summary>
    private static List<Reading> Better(Dictionary<FloorKind, IReadOnlyList<Reading>> floors)
    {
        var groups = Groups.Where(floors.ContainsKey).Select(k => floors[k]).ToList();
        return [.. WithoutErrors(groups[0]).Select((_, i) => groups.Select(g => g[i]).MaxBy(r => r.Unit == "1/s" ? r.Value : -r.Value))];
    }

    // Those of a floor are a problem and no figure.
    private static List<Reading> WithoutErrors(IReadOnlyList<Reading> readings) => [.. readings.Where(r => r.Row != "errors")];

    private async Task<IReadOnlyList<Reading>> MeasureAsync(string url)
    {
        var readings = new List<Reading>();
        var errors = 0L;
        foreach (var connections in _connections)
        {
            var name = string.Create(CultureInfo.InvariantCulture, $"{connections} connections");
            var result = await SaturateAsync(url, connections, plan.WarmUp, plan.Counted);
            errors += result.Errors;
            readings.Add(new($"{name}: requests", "1/s", result.PerSecond));
            readings.AddRange(Times(name, result));
        }
        var counted = plan.Counted * 3;
        var rate = plan.Quick ? SteadyRate / 10 : SteadyRate;
        var events = (int)((plan.WarmUp + counted).TotalSeconds * rate) + 1;
        var load = new Load([], "", "", events)
        {
            Rate = rate,
            Connections = 64,
            WarmUp = plan.WarmUp,
            Counted = counted,
        };
        var steady = await SendAsync(url, 64, load);
        errors += steady.Errors;
        readings.AddRange(Times("2,000 requests/s", steady));
        readings.Add(new("errors", "", errors));
        return readings;
    }

    private static IEnumerable<Reading> Times(string name, LoadResult result) =>
        [new($"{name}: p50", "ms", result.P50), new($"{name}: p99", "ms", result.P99), new($"{name}: longest", "ms", result.Worst)];

    private Task<LoadResult> SaturateAsync(string url, int connections, TimeSpan warmUp, TimeSpan counted) =>
        SendAsync(url, connections, new Load([], "", "", plan.Quick ? 20_000 : MostEvents) { WarmUp = warmUp, Counted = counted });

    private async Task<LoadResult> SendAsync(string url, int connections, Load load)
    {
        var prefix = string.Create(CultureInfo.InvariantCulture, $"load{++_loads}");
        var result = await sender.SendAsync(
            load with
            {
                Urls = [url],
                Prefix = prefix,
                Type = HoldingHandler.Type,
                Connections = Math.Min(connections, load.Events),
            }
        );
        report.Check(result.Answered > 0, $"{url}: nothing of the load {prefix} was answered.");
        if (result.FirstError is { } error)
        {
            Report.Say($"  {url} {prefix}: {result.Errors} errors, the first: {error.ReplaceLineEndings(" ")}");
        }
        return result;
    }
}
