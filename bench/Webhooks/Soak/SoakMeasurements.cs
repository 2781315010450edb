using System.Collections.Concurrent;
using System.Diagnostics;
using Scheduler.Bench.Harness;
using Scheduler.Testing.Webhooks;

namespace Scheduler.Bench.Webhooks.Soak;

/// <summary>
/// Three replicas, of which one after another is killed and started again, take in deliveries of all kinds; then the tables are compared
/// with what the senders were told.
/// </summary>
internal sealed class SoakMeasurements(Plan plan, Report report, WebhookStore store, WebhookServers servers)
{
    private const int Replicas = 3;
    private const int MostFindings = 20;

    private static readonly TimeSpan Longest = TimeSpan.FromMinutes(10);
    private static readonly TimeSpan KillEvery = TimeSpan.FromSeconds(10);
    private static readonly TimeSpan Look = TimeSpan.FromMilliseconds(200);

    private static readonly string[] Findings =
    [
        "lost",
        "doubled",
        "out of order",
        "of nobody",
        "accepted never or more than once",
        "contradictions not kept once",
    ];

    private static int Steps => EffectHandler.Types.Count;

    private int Orders => (plan.Quick ? 3_000 : 100_000) / Steps;

    private string Kills => plan.Quick ? "one killed" : $"one killed every {KillEvery.TotalSeconds} s";

    public async Task RunAsync()
    {
        var section = new Section(
            $"{store.Name}: {Orders * Steps:#,0} events over 3 replicas, {Kills}",
            null,
            Findings.ToDictionary(f => f, _ => Goal.AtMost(0), StringComparer.Ordinal)
        );
        section.AddOurs(await MeasureAsync());
        report.Add(section);
    }

    private async Task<IReadOnlyList<Reading>> MeasureAsync()
    {
        var place = await servers.PlaceAsync();
        await using var replicas = await ReplicaSet.StartAsync(place, Replicas);
        var urls = replicas.Urls;
        using var courier = new Courier(() => urls);
        var findings = new ConcurrentQueue<string>();
        var traffic = new SoakTraffic(
            courier,
            new SoakPlan(Orders, Steps, (step, order, index) => Signer.Body(EffectHandler.TypeOf(step), order, index))
            {
                MaxBodyBytes = WebhookReplica.MaxBodyBytes,
            },
            findings.Enqueue
        );
        using var stop = new CancellationTokenSource();
        var start = Stopwatch.GetTimestamp();
        var killing = plan.Quick ? KillOneAsync(replicas, traffic) : KillAsync(replicas, traffic, stop.Token);
        await traffic.RunAsync();
        var sent = Stopwatch.GetElapsedTime(start);
        await stop.CancelAsync();
        var kills = await killing;
        report.Check(kills > 0, $"{store.Name}: all was sent before a replica was killed.");
        var inbox = new InboxTable(place);
        while (await inbox.OpenEventsAsync() is var open && open > 0)
        {
            if (Stopwatch.GetElapsedTime(start) > Longest)
            {
                findings.Enqueue($"{open} events are not processed after {Longest}.");
                break;
            }
            await Task.Delay(Look, TimeProvider.System);
        }
        var done = Stopwatch.GetElapsedTime(start);
        using var effectStore = new EffectStore(place);
        var effects = await effectStore.AllAsync();
        var check = SoakCheck.Compare(traffic.Events, traffic.Conflicts, await inbox.AllAsync(), effects, findings.Enqueue);
        Tell(findings);
        return
        [
            new("events", "", traffic.Events.Count),
            new("deliveries that were answered", "", courier.Deliveries),
            new("of these duplicates", "", traffic.Duplicates),
            new("of these contradictions, each twice", "", traffic.Conflicts.Count * 2),
            new("of these not genuine or too large, refused", "", traffic.Refused),
            new("deliveries without an answer", "", courier.Broken),
            new("deliveries answered with 503", "", courier.Later),
            new("kills", "", kills),
            new("until all were sent", "s", sent.TotalSeconds),
            new("until all had their effect", "s", done.TotalSeconds),
            new("replicas that applied effects", "", effects.Select(e => e.Replica).Distinct(StringComparer.Ordinal).Count()),
            .. Findings.Zip(
                (int[])[check.Lost, check.Doubled, check.OutOfOrder, check.Unfounded, check.Unanswered, check.Contradictions],
                (row, count) => new Reading(row, "", count)
            ),
        ];
    }

    private void Tell(ConcurrentQueue<string> findings)
    {
        foreach (var finding in findings.Take(MostFindings))
        {
            report.Problem($"{store.Name}: {finding}");
        }
        if (findings.Count > MostFindings)
        {
            report.Problem($"{store.Name}: and {findings.Count - MostFindings} more.");
        }
    }

    /// <summary>Kills one when a third is sent; gives how many.</summary>
    private async Task<int> KillOneAsync(ReplicaSet replicas, SoakTraffic traffic)
    {
        while (traffic.Sent < Orders / 3)
        {
            await Task.Delay(Look / 10, TimeProvider.System);
        }
        await replicas.KillAndStartAsync(0);
        return 1;
    }

    /// <summary>Kills one after another until it is told to end; gives how many.</summary>
    private static async Task<int> KillAsync(ReplicaSet replicas, SoakTraffic traffic, CancellationToken cancellationToken)
    {
        for (var kills = 0; ; kills++)
        {
            await Task.Delay(KillEvery, TimeProvider.System, cancellationToken).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            if (cancellationToken.IsCancellationRequested)
            {
                return kills;
            }
            Report.Say($"  {traffic.Sent * Steps:#,0} events are sent; replica {kills % Replicas} is killed.");
            await replicas.KillAndStartAsync(kills % Replicas);
        }
    }
}
