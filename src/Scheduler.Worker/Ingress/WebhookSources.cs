using Scheduler.Inbox;
using Scheduler.Webhooks;
using Scheduler.Webhooks.Processing;
using Scheduler.Webhooks.Verification;
using Scheduler.Worker.Configuration;

namespace Scheduler.Worker.Ingress;

/// <summary>The configured senders, by name without regard to case. Immutable and thread-safe.</summary>
internal sealed class WebhookSources
{
    private readonly Dictionary<string, WebhookIntake> _intakes;

    private readonly WebhookRoutes _routes;

    /// <summary>Reads the sources; their options have been checked.</summary>
    public WebhookSources(WebhooksOptions options, WebhookRoutes routes, TimeProvider time)
    {
        _routes = routes;
        _intakes = options.Sources.ToDictionary(s => s.Key, s => new WebhookIntake(s.Key, s.Value, time), StringComparer.OrdinalIgnoreCase);
    }

    /// <summary>The names.</summary>
    public IReadOnlyCollection<string> Names => _intakes.Keys;

    /// <summary>The names of those whose signatures cover a time: an old delivery of theirs is refused for its age.</summary>
    public IReadOnlyList<string> Timed => [.. _intakes.Values.Where(i => i.Signs.HasFlag(SignedParts.Timestamp)).Select(i => i.Source)];

    /// <summary>Finds a source, or <see langword="null"/>.</summary>
    public WebhookIntake? Find(string name) => _intakes.GetValueOrDefault(name);

    /// <summary>Makes of what a delivery is what the inbox stores.</summary>
    /// <param name="intake">The source.</param>
    /// <param name="verdict">What the delivery is; not refused.</param>
    /// <param name="body">Its body, kept as it is.</param>
    /// <param name="now">When it came.</param>
    public InboxArrival ArrivalOf(WebhookIntake intake, WebhookVerdict verdict, byte[] body, DateTimeOffset now) =>
        verdict switch
        {
            WebhookVerdict.Event e => new InboxArrival
            {
                Source = intake.Source,
                State = _routes.Has(intake.Source, e.Type) ? InboxState.Received : InboxState.Ignored,
                EventId = e.EventId,
                Type = e.Type,
                DedupeKey = e.DedupeKey,
                OrderKey = e.OrderKey,
                BodyHash = e.BodyHash.ToArray(),
                ContentHash = e.CanonicalHash.ToArray(),
                IsBodyUnique = intake.IsBodyUnique,
                Body = body,
                ReceivedAt = now,
                Labels = LabelsOf(e.Labels),
            },
            WebhookVerdict.Quarantined q => new InboxArrival
            {
                Source = intake.Source,
                State = InboxState.Quarantined,
                BodyHash = q.BodyHash.ToArray(),
                ContentHash = q.BodyHash.ToArray(),
                IsBodyUnique = true,
                Body = body,
                ReceivedAt = now,
                Reason = q.Reason,
                Labels = LabelsOf(q.Labels),
            },
            _ => throw new ArgumentOutOfRangeException(nameof(verdict), verdict, "A refused delivery does not arrive."),
        };

    private static InboxLabels? LabelsOf(WebhookLabels labels) =>
        labels is { Id: null, Type: null } ? null : new InboxLabels(labels.Id, labels.Type);
}
