using Scheduler.Bench.Harness;
using Scheduler.Bench.Webhooks.Sending;
using Scheduler.Bench.Webhooks.Soak;

namespace Scheduler.Bench.Webhooks;

/// <summary>The command <c>webhooks</c>: what is taken in and how soon it has its effect, beside hand-written receivers; and whether each
/// event has one effect whatever happens.</summary>
internal static class WebhooksCommand
{
    public static async Task RunAsync(Plan plan, Report report)
    {
        foreach (var store in WebhookStore.All.Where(s => plan.Stores.Contains(s.Name)))
        {
            await using var servers = await WebhookServers.StartAsync(store, report);
            await using var sender = Sender.Start();
            foreach (var part in plan.Parts)
            {
                await (
                    part switch
                    {
                        "ingest" => new IngestMeasurements(plan, report, store, servers, sender).RunAsync(),
                        "effects" => new EffectMeasurements(plan, report, store, servers, sender).RunAsync(),
                        "memory" => new MemoryMeasurements(plan, report, store, servers, sender).RunAsync(),
                        _ => new SoakMeasurements(plan, report, store, servers).RunAsync(),
                    }
                );
            }
        }
    }
}
