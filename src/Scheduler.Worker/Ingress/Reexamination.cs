using Scheduler.Inbox;
using Scheduler.Runs;
using Scheduler.Webhooks.Verification;

namespace Scheduler.Worker.Ingress;

/// <summary>Lets events that were set aside be processed after all, where the present options and handlers can. Thread-safe.</summary>
internal sealed class Reexamination(WebhookSources sources, StateGuard state)
{
    public const string NoBody = "Its body is no longer kept (Scheduler:Webhooks:KeepBodies, KeepDead), so there is nothing to process.";

    /// <summary>To events of a source that is not configured.</summary>
    public static string NoSource(string source) => $"Scheduler:Webhooks:Sources has no source '{source}' on this replica.";

    /// <summary>Receives a quarantined or ignored event under the keys that its body has now.</summary>
    /// <returns>Why it is not received; <see langword="null"/> when it is.</returns>
    public async ValueTask<string?> ReceiveAsync(string id, CancellationToken cancellationToken)
    {
        if (await state.CallAsync((s, token) => s.Inbox.ReadAsync(id, token), cancellationToken) is not { Body: { } body } stored)
        {
            return NoBody;
        }
        var (arrival, problem) = Examine(stored.Event, body);
        if (arrival is null)
        {
            return problem;
        }
        var received = await state.CallAsync((s, token) => s.Inbox.ReceiveAsync(id, arrival, token), cancellationToken);
        return received switch
        {
            { IsChanged: true } => null,
            { Other: { } other } =>
                $"By the present options of source '{arrival.Source}' it has a key of event {other}, which counts; dismiss it with "
                    + "decision=ignore.",
            _ => "It was changed by somebody else in this moment; look at it again.",
        };
    }

    private (InboxArrival? Arrival, string Problem) Examine(InboxEvent stored, byte[] body)
    {
        if (sources.Find(stored.Source) is not { } intake)
        {
            return (null, NoSource(stored.Source));
        }
        var labels = new WebhookLabels(stored.Labels?.Id, stored.Labels?.Type);
        var verdict = intake.ExamineAgain(body, stored.EventId, labels);
        var arrival = sources.ArrivalOf(intake, verdict, body, stored.ReceivedAt) with { Source = stored.Source };
        return arrival.State switch
        {
            InboxState.Received => (arrival, ""),
            InboxState.Quarantined => (null, $"By the present options of source '{stored.Source}' it stays quarantined: {arrival.Reason}."),
            _ => (null, $"No handler takes the type '{arrival.Type}' of source '{stored.Source}' on this replica."),
        };
    }
}
