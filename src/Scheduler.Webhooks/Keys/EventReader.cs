using System.Text;
using Scheduler.Webhooks.Content;

namespace Scheduler.Webhooks.Keys;

/// <summary>What the keys of a source are made of. Immutable and thread-safe.</summary>
/// <param name="Type">Where the event type is, if anywhere.</param>
/// <param name="EventId">Where the event id is, if in the body.</param>
/// <param name="Dedupe">What makes the dedupe key, with the type.</param>
/// <param name="Order">What makes the order key.</param>
/// <param name="Ignored">What does not count as content.</param>
internal sealed record KeyPlaces(
    JsonPointer? Type,
    JsonPointer? EventId,
    IReadOnlyList<JsonPointer> Dedupe,
    IReadOnlyList<JsonPointer> Order,
    IReadOnlyList<JsonPointer> Ignored
);

/// <summary>What a body says; <paramref name="Problem"/> when it is no JSON or has no key, and then nothing else.</summary>
internal readonly record struct EventText(
    string? Problem,
    string? Type,
    string? EventId,
    string DedupeKey,
    string OrderKey,
    ContentHash CanonicalHash
);

/// <summary>Reads the keys and the canonical hash of a body. Thread-safe.</summary>
internal static class EventReader
{
    /// <summary>The longest event type, in bytes of UTF-8.</summary>
    public const int MaxTypeBytes = 200;

    /// <summary>The longest event id, in bytes of UTF-8.</summary>
    public const int MaxEventIdBytes = 256;

    /// <summary>Reads a body.</summary>
    /// <param name="body">The body.</param>
    /// <param name="places">What its keys are made of.</param>
    /// <param name="typeElsewhere">The event type, where it is not in the body; at most 200 ASCII characters.</param>
    public static EventText Read(ReadOnlySpan<byte> body, KeyPlaces places, string? typeElsewhere = null)
    {
        var problem = JsonTape.Read(body, out var tape);
        try
        {
            return problem is null ? Read(ref tape, places, typeElsewhere) : new EventText { Problem = problem };
        }
        finally
        {
            tape.Dispose();
        }
    }

    private static EventText Read(ref JsonTape tape, KeyPlaces places, string? typeElsewhere)
    {
        var type = typeElsewhere;
        var typeAt = places.Type is null ? -1 : tape.Find(places.Type);
        // A sender that writes null where it has no type means that there is none.
        if (typeAt >= 0 && tape.Kind(typeAt) == NodeKind.Null)
        {
            typeAt = -1;
        }
        if (typeAt >= 0 && Name(ref tape, places.Type!, typeAt, MaxTypeBytes, out type) is { } typeProblem)
        {
            return new EventText { Problem = $"no type: {typeProblem}" };
        }
        string? eventId = null;
        if (places.EventId is { } idPlace && Name(ref tape, idPlace, tape.Find(idPlace), MaxEventIdBytes, out eventId) is { } idProblem)
        {
            return new EventText { Problem = $"no event id: {idProblem}" };
        }
        Span<byte> buffer = stackalloc byte[KeyText.MaxBytes];
        if (Join(ref tape, places.Dedupe, buffer, type ?? "", out var dedupeKey) is { } dedupeProblem)
        {
            return new EventText { Problem = $"no key: {dedupeProblem}" };
        }
        if (Join(ref tape, places.Order, buffer, type: null, out var orderKey) is { } orderProblem)
        {
            return new EventText { Problem = $"no key: {orderProblem}" };
        }
        foreach (var ignored in places.Ignored)
        {
            tape.Ignore(ignored);
        }
        return new EventText(null, type, eventId, dedupeKey, orderKey, CanonicalForm.Hash(ref tape));
    }

    private static string? Join(
        scoped ref JsonTape tape,
        IReadOnlyList<JsonPointer> places,
        scoped Span<byte> buffer,
        string? type,
        out string key
    )
    {
        key = "";
        var text = new KeyText(buffer);
        try
        {
            if (type is not null)
            {
                Span<byte> bytes = stackalloc byte[MaxTypeBytes];
                text.Add(bytes[..Encoding.UTF8.GetBytes(type, bytes)]);
            }
            for (var i = 0; i < places.Count; i++)
            {
                var at = tape.Find(places[i]);
                if (PartProblem(ref tape, places[i], at) is { } problem)
                {
                    return problem;
                }
                text.Add(tape.Text(at));
            }
            key = text.Finish();
            return null;
        }
        finally
        {
            text.Dispose();
        }
    }

    private static string? Name(scoped ref JsonTape tape, JsonPointer place, int at, int maxBytes, out string? name)
    {
        name = null;
        if (PartProblem(ref tape, place, at) is { } problem)
        {
            return problem;
        }
        var text = tape.Text(at);
        if (text.Length > maxBytes)
        {
            return $"{place} has more than {maxBytes} bytes";
        }
        name = Encoding.UTF8.GetString(text);
        return name.Any(char.IsControl) ? $"{place} has a control character" : null;
    }

    private static string? PartProblem(scoped ref JsonTape tape, JsonPointer place, int at) =>
        at < 0
            ? $"{place} is missing"
            : tape.Kind(at) switch
            {
                NodeKind.String when tape.Text(at).IsEmpty => $"{place} is an empty text",
                NodeKind.String or NodeKind.Number => null,
                NodeKind.Object => $"{place} is an object, not a text or number",
                NodeKind.Array => $"{place} is an array, not a text or number",
                NodeKind.Null => $"{place} is null, not a text or number",
                _ => $"{place} is true or false, not a text or number",
            };
}
