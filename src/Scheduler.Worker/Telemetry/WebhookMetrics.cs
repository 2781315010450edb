using System.Diagnostics.Metrics;

namespace Scheduler.Worker.Telemetry;

/// <summary>
/// Counts deliveries to the configured sources, in the meter <c>Scheduler</c>, by source and outcome: what the answer says, or
/// <c>refused</c> (4xx), or <c>notStored</c> (503). Never throws. Thread-safe.
/// </summary>
internal static class WebhookMetrics
{
    public const string Name = "scheduler.webhook.deliveries";

    private static readonly Meter Meter = new("Scheduler");
    private static readonly Counter<long> Deliveries = Meter.CreateCounter<long>(Name, "{delivery}", "Deliveries, by outcome.");

    public static void Add(string source, string outcome)
    {
        try
        {
            Deliveries.Add(1, new("source", source), new("outcome", outcome));
        }
#pragma warning disable CA1031, RCS1075 // A listener's defect; there is nobody to tell.
        catch (Exception)
#pragma warning restore CA1031, RCS1075
        {
            // Counting is not worth an answer.
        }
    }
}
