using System.Diagnostics;
using Scheduler.Bench.Harness;
using Scheduler.Bench.Webhooks.Floor;
using Scheduler.Bench.Webhooks.Sending;
using Scheduler.Testing.Servers;

namespace Scheduler.Bench.Webhooks;

/// <summary>How soon an event that was accepted has its effect, and how fast a backlog gets its effects.</summary>
internal sealed class EffectMeasurements(Plan plan, Report report, WebhookStore store, WebhookServers servers, Sender sender)
{
    private const int Rate = 500;
    private const int Replicas = 3;

    private static readonly TimeSpan Longest = TimeSpan.FromSeconds(120);

    private static readonly Dictionary<string, Goal> SoonGoals = new(StringComparer.Ordinal)
    {
        ["accepted to effect: p50"] = Goal.AtMost(10),
        ["accepted to effect: p99"] = Goal.AtMost(50),
        ["errors"] = Goal.AtMost(0),
    };

    private static readonly Dictionary<string, Goal> BacklogGoals = new(StringComparer.Ordinal)
    {
        ["a backlog: effects"] = Goal.RatioAtLeast(0.7),
    };

    // The compiler takes a processor until it has done with three processes.
    private TimeSpan WarmUp => TimeSpan.FromSeconds(plan.Quick ? 1 : 20);

    private TimeSpan Counted => TimeSpan.FromSeconds(plan.Quick ? 1 : 15);

    private int Backlog => plan.Quick ? 300 : 30_000;

    public async Task RunAsync()
    {
        var soon = new Section($"{store.Name}: 500 events/s over 3 replicas", null, SoonGoals);
        await soon.CompareAsync(plan.Rounds, SoonAsync, null);
        report.Add(soon);
        var backlog = new Section(
            $"{store.Name}: a backlog on one replica",
            "a hand-written loop of the same transactions without a lock",
            BacklogGoals
        );
        await backlog.CompareAsync(plan.Rounds, BacklogAsync, FloorBacklogAsync);
        report.Add(backlog);
    }

    private async Task<IReadOnlyList<Reading>> SoonAsync()
    {
        await using var replicas = await ReplicaSet.StartAsync(await servers.PlaceAsync(), Replicas);
        var rate = plan.Quick ? Rate / 5 : Rate;
        var load = new Load(replicas.Urls, "soon", EffectHandler.TypeOf(1), (int)((WarmUp + Counted).TotalSeconds * rate))
        {
            Rate = rate,
            WarmUp = WarmUp,
            Counted = Counted,
            WithTimes = true,
        };
        var result = await sender.SendAsync(load);
        var answered = result.Times!;
        var effects = (await replicas.EffectsAsync(result.Accepted, Longest)).ToLookup(e => e.Index, e => e.At);
        var times = new List<double>();
        for (var index = 0; index < answered.Count; index++)
        {
            var at = effects[index].ToList();
            report.Check(at.Count <= 1, $"{store.Name}: event {index} was applied {at.Count} times.");
            report.Check(
                at.Count > 0 || answered[index] == 0,
                $"{store.Name}: event {index} was accepted and has no effect after {Longest.TotalSeconds} s."
            );
            if (index >= WarmUp.TotalSeconds * rate && answered[index] > 0 && at.Count > 0)
            {
                times.Add((at[0] - answered[index]) * 1000.0 / Stopwatch.Frequency);
            }
        }
        times.Sort();
        return
        [
            new("accepted to effect: p50", "ms", Samples.Percentile(times, 0.5)),
            new("accepted to effect: p99", "ms", Samples.Percentile(times, 0.99)),
            new("accepted to effect: longest", "ms", times[^1]),
            new("sent to accepted: p50", "ms", result.P50),
            new("sent to accepted: p99", "ms", result.P99),
            new("errors", "", result.Errors),
        ];
    }

    private async Task<IReadOnlyList<Reading>> BacklogAsync()
    {
        var place = await servers.PlaceAsync();
        var filler = new ReplicaSetup("filler", FreePort.Next(), place, Degree: 1, Holds: true);
        IReadOnlyList<long> accepted;
        await using (var replica = WebhookReplica.Start(filler))
        {
            await replica.ExpectAsync("ready");
            await sender.SendAsync(new Load([filler.Url], "hold", HoldingHandler.Type, 1) { Connections = 1, Counted = Longest });
            await replica.ExpectAsync(WebhookReplica.Held);
            var load = new Load([filler.Url], "backlog", EffectHandler.TypeOf(1), Backlog) { Counted = Longest, WithTimes = true };
            accepted = (await sender.SendAsync(load)).Accepted;
        }
        await using var replicas = await ReplicaSet.StartAsync(place, 1);
        var effects = await replicas.EffectsAsync(accepted, Longest);
        report.Check(effects.Count >= accepted.Count, $"{store.Name}: {effects.Count} of a backlog of {accepted.Count} have their effect.");
        return [DrainRate(effects)];
    }

    private async Task<IReadOnlyList<Reading>> FloorBacklogAsync()
    {
        var place = await servers.PlaceAsync();
        var setup = new DrainSetup(store.State, await servers.RawAddressAsync(), EffectStore.FileOf(place), Backlog, Degree: 16);
        await using var floor = FloorDrain.Start(setup);
        return [DrainRate(await floor.ResultAsync<List<AppliedEffect>>())];
    }

    /// <summary>Without the first fifth, in which code is compiled.</summary>
    private static Reading DrainRate(IReadOnlyList<AppliedEffect> effects)
    {
        var times = effects.Select(e => e.At).Order().ToList();
        var from = times.Count / 5;
        var seconds = (times[^1] - times[from]) / (double)Stopwatch.Frequency;
        return new("a backlog: effects", "1/s", (times.Count - 1 - from) / seconds);
    }
}
