using Scheduler.Webhooks.Content;
using Scheduler.Webhooks.Keys;
using Scheduler.Webhooks.Sources;
using Scheduler.Webhooks.Verification;

namespace Scheduler.Webhooks;

/// <summary>
/// Says what a delivery to one source is, by its headers and the bytes of its body alone: first whether it is genuine, and only then what
/// is in it. Stores nothing, waits for nothing, and throws for no delivery. Made once per source; thread-safe.
/// </summary>
public sealed class WebhookIntake
{
    private readonly IVerifier _verifier;
    private readonly KeyPlaces _places;
    private readonly string? _typeHeader;
    private readonly bool _isGitHub;

    /// <summary>Reads the options and the secret files.</summary>
    /// <param name="source">The source's name: 1 to 100 of A-Z, a-z, 0-9, '.', '_' and '-'.</param>
    /// <param name="options">Its options; later changes of them change nothing.</param>
    /// <param name="time">The clock that the time of a signature is held against.</param>
    /// <exception cref="ArgumentException">The options are wrong; the message has what
    /// <see cref="WebhookSourceOptionsValidator"/> found.</exception>
    public WebhookIntake(string source, WebhookSourceOptions options, TimeProvider time)
    {
        ArgumentNullException.ThrowIfNull(options);
        ArgumentNullException.ThrowIfNull(time);
        var problems = WebhookSourceOptionsValidator.Validate(source, options, "Sources").ToList();
        if (problems.Count > 0)
        {
            throw new ArgumentException(string.Join('\n', problems), nameof(options));
        }
        var scheme = Scheme.Find(options.Scheme)!;
        var eventIdFrom = string.IsNullOrEmpty(options.EventIdFrom) ? scheme.EventIdFrom : options.EventIdFrom;
        var typeFrom = options.TypeFrom ?? scheme.TypeFrom;
        _typeHeader = TypePlace.HeaderOf(typeFrom);
        Source = source;
        MaxBodyBytes = options.MaxBodyBytes;
        Signs =
            scheme.Signs
            | (eventIdFrom is null ? SignedParts.None : SignedParts.EventId)
            | (options.TimestampHeader is null ? SignedParts.None : SignedParts.Timestamp);
        _isGitHub = scheme.Name == Scheme.GitHub;
        _verifier = VerifierFactory.Create(options, time);
        _places = new KeyPlaces(
            typeFrom.Length == 0 || _typeHeader is not null ? null : JsonPointer.From(typeFrom),
            eventIdFrom is null ? null : JsonPointer.From(eventIdFrom),
            [.. options.DedupeBy.Select(JsonPointer.From)],
            [.. options.OrderBy.Select(JsonPointer.From)],
            [.. (options.IgnoreInBody ?? scheme.IgnoreInBody).Select(JsonPointer.From)]
        );
    }

    /// <summary>The source's name.</summary>
    public string Source { get; }

    /// <summary>The largest body, in bytes.</summary>
    public int MaxBodyBytes { get; }

    /// <summary>What the signatures of this source cover.</summary>
    public SignedParts Signs { get; }

    /// <summary>Whether the hash of a body is a second unique key: without a signed id and a signed time, a delivery that is sent again by
    /// somebody on the way is known by nothing else.</summary>
    public bool IsBodyUnique => (Signs & Both) != Both;

    private const SignedParts Both = SignedParts.EventId | SignedParts.Timestamp;

    /// <summary>Says what a delivery is.</summary>
    /// <param name="headers">The request's headers.</param>
    /// <param name="body">The body as it came, byte for byte; not kept.</param>
    public WebhookVerdict Examine(in WebhookHeaders headers, ReadOnlySpan<byte> body)
    {
        if (ContentTypes.Problem(headers, _isGitHub) is { } typeProblem)
        {
            return new WebhookVerdict.Refused(415, typeProblem);
        }
        if (body.Length > MaxBodyBytes)
        {
            return new WebhookVerdict.Refused(413, $"the body is larger than {MaxBodyBytes} bytes");
        }
        var delivery = _verifier.Verify(headers, body);
        if (delivery.Refusal is { } refusal)
        {
            return new WebhookVerdict.Refused(401, refusal);
        }
        var labels = _typeHeader is null
            ? delivery.Labels
            : delivery.Labels with
            {
                Type = WebhookLabels.Usable(headers[_typeHeader].Value),
            };
        return Read(body, delivery.EventId, delivery.SignedAt, labels);
    }

    /// <summary>Says what a delivery is that was found genuine before, by the source's present options.</summary>
    /// <param name="body">Its body.</param>
    /// <param name="eventId">The event id that was kept of it, if any.</param>
    /// <param name="labels">What was kept of its labels.</param>
    public WebhookVerdict ExamineAgain(ReadOnlySpan<byte> body, string? eventId, WebhookLabels labels) =>
        Read(body, eventId, signedAt: null, labels);

    private WebhookVerdict Read(ReadOnlySpan<byte> body, string? eventId, DateTimeOffset? signedAt, WebhookLabels labels)
    {
        var bodyHash = ContentHash.Of(body);
        var text = EventReader.Read(body, _places, _typeHeader is null ? null : labels.Type);
        return text.Problem is { } problem
            ? new WebhookVerdict.Quarantined(problem, bodyHash, signedAt, labels)
            : new WebhookVerdict.Event(
                text.Type,
                eventId ?? text.EventId,
                text.DedupeKey,
                text.OrderKey,
                bodyHash,
                text.CanonicalHash,
                signedAt,
                labels
            );
    }
}
