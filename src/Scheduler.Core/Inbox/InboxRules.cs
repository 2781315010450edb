using System.Runtime.InteropServices;
using System.Security.Cryptography;
using Scheduler.Runs;

namespace Scheduler.Inbox;

/// <summary>A stored row that shares a key with an arrival.</summary>
internal sealed record InboxHit(string Id, InboxState State, byte[] BodyHash, byte[] ContentHash);

/// <summary>What every inbox does alike, whatever keeps its rows. Stateless and thread-safe.</summary>
internal static class InboxRules
{
    private const int MaxSource = 100;
    private const int MaxKey = 400;
    private const int LongestError = 4_000;
    private const int LongestLabel = 200;

    // Some milliseconds of the State's time for a look at events that are all held back, and what a call may take for all looks.
    private const int FirstLookBeyond = 16;
    private const int LookBeyond = 400;
    private const int MostLooks = 50;

    /// <summary>
    /// Takes events by looks of a bounded width, one after another while there is room and more to look at: what another event holds
    /// back is seen once and then no more, so a long order keeps others waiting for that once.
    /// </summary>
    /// <param name="request">What to take.</param>
    /// <param name="look">Takes at most so many, by a look at so many; tells whether the next look would see others.</param>
    public static async ValueTask<IReadOnlyList<InboxClaim>> ClaimAsync(
        InboxClaimRequest request,
        Func<int, int, ValueTask<(IReadOnlyList<InboxClaim> Claims, bool IsMore)>> look
    )
    {
        Check(request);
        var claims = new List<InboxClaim>();
        var isMore = request.Kinds.Count > 0;
        for (var looks = 0; isMore && claims.Count < request.Limit && looks < MostLooks; looks++)
        {
            var limit = request.Limit - claims.Count;
            (var taken, isMore) = await look(limit, limit + (looks == 0 ? FirstLookBeyond : LookBeyond));
            claims.AddRange(taken);
        }
        return claims;
    }

    /// <summary>A state as the tables have it.</summary>
    public static string NameOf(InboxState state) => state.ToString().ToLowerInvariant();

    /// <summary>Reads a state of the tables.</summary>
    public static InboxState StateOf(string name) => Enum.Parse<InboxState>(name, ignoreCase: true);

    /// <summary>Refuses arrivals that no inbox keeps.</summary>
    public static void Check(IReadOnlyList<InboxArrival> arrivals)
    {
        LedgerRules.CheckBatch(arrivals, IInbox.MaxBatch);
        ArgumentOutOfRangeException.ThrowIfZero(arrivals.Count, nameof(arrivals));
        foreach (var arrival in arrivals)
        {
            if (Problem(arrival) is { } problem)
            {
                throw new ArgumentException($"An arrival of source '{arrival.Source}': {problem}.", nameof(arrivals));
            }
        }
    }

    /// <summary>Who takes each arrival as it is stored, where no stored event keeps it back: of an order only the first, so that none
    /// passes another one of its batch.</summary>
    public static InboxTaking?[] TakingsOf(IReadOnlyList<InboxArrival> arrivals)
    {
        if (arrivals.All(a => a.Taking is null))
        {
            return new InboxTaking?[arrivals.Count];
        }
        var orders = new HashSet<(string, string)>();
        return [.. arrivals.Select(a => a.State == InboxState.Received && orders.Add((a.Source, a.OrderKey!)) ? a.Taking : null)];
    }

    /// <summary>A body as an array: most are one, and need no copy.</summary>
    public static byte[] BytesOf(ReadOnlyMemory<byte> body) =>
        MemoryMarshal.TryGetArray(body, out var part) && part.Count == part.Array!.Length ? part.Array : body.ToArray();

    /// <summary>An event that was taken as it was stored.</summary>
    public static InboxEvent TakenOf(InboxArrival arrival, InboxTaking taking, string id, long number, DateTimeOffset until) =>
        new()
        {
            Id = id,
            Number = number,
            Source = arrival.Source,
            State = InboxState.Processing,
            EventId = arrival.EventId,
            Type = arrival.Type,
            DedupeKey = arrival.DedupeKey,
            OrderKey = arrival.OrderKey,
            ReceivedAt = arrival.ReceivedAt,
            Attempts = 1,
            Counted = 1,
            DueAt = until,
            Replica = taking.Replica,
            BodyBytes = arrival.Body.Length,
        };

    /// <summary>Refuses what an event that was set aside cannot become.</summary>
    public static void CheckReceived(InboxArrival arrival)
    {
        ArgumentNullException.ThrowIfNull(arrival);
        if (arrival.State != InboxState.Received || Problem(arrival) is not null)
        {
            throw new ArgumentException($"An event of source '{arrival.Source}' cannot be received without its keys.", nameof(arrival));
        }
    }

    /// <summary>Refuses a request to take events that cannot be meant.</summary>
    public static void Check(InboxClaimRequest request)
    {
        ArgumentNullException.ThrowIfNull(request);
        ArgumentException.ThrowIfNullOrEmpty(request.Replica, nameof(request));
        LedgerRules.CheckLimit(request.Limit, IInbox.MaxBatch);
        ArgumentOutOfRangeException.ThrowIfLessThanOrEqual(request.Hold, TimeSpan.Zero, nameof(request));
    }

    /// <summary>Refuses ends that no attempt has.</summary>
    public static void Check(IReadOnlyList<InboxEnd> ends)
    {
        LedgerRules.CheckBatch(ends, IInbox.MaxBatch);
        foreach (var end in ends)
        {
            if (end.State is not (InboxState.Done or InboxState.Failed or InboxState.Dead or InboxState.Received or InboxState.Processing))
            {
                throw new ArgumentException($"An attempt at event '{end.Id}' cannot end as {end.State}.", nameof(ends));
            }
            ArgumentOutOfRangeException.ThrowIfLessThan(end.After, TimeSpan.Zero, nameof(ends));
        }
    }

    /// <summary>Whether the body of an arrival is one of its keys.</summary>
    public static bool IsBodyKey(InboxArrival arrival) => arrival.IsBodyUnique || arrival.State == InboxState.Quarantined;

    /// <summary>The error of quarantined events whose bodies were dropped, with a place for why they were quarantined.</summary>
    public static string DroppedError(int keep) =>
        $"dropped, because {keep} newer ones of its source were quarantined; it was quarantined because of: ";

    /// <summary>The labels of a stored event.</summary>
    public static InboxLabels? LabelsOf(string? id, string? type) => id is null && type is null ? null : new InboxLabels(id, type);

    /// <summary>The error to keep: at most 4,000 characters.</summary>
    public static string? ErrorOf(string? error) => LedgerRules.Cut(error, LongestError);

    /// <summary>
    /// Whether an arrival says the same as the one row that its keys hit; of keys that hit several rows, each of them another event, it
    /// never does.
    /// </summary>
    public static bool IsDuplicate(InboxArrival arrival, IReadOnlyList<InboxHit> hits) =>
        hits is [var hit]
        && (
            CryptographicOperations.FixedTimeEquals(hit.BodyHash, arrival.BodyHash)
            || CryptographicOperations.FixedTimeEquals(hit.ContentHash, arrival.ContentHash)
        );

    private static string? Problem(InboxArrival arrival) =>
        arrival.State is not (InboxState.Received or InboxState.Ignored or InboxState.Quarantined) ? $"none arrives as {arrival.State}"
        : arrival.Source.Length is 0 or > MaxSource ? $"a source's name has 1 to {MaxSource} characters"
        : arrival.BodyHash.Length != SHA256.HashSizeInBytes || arrival.ContentHash.Length != SHA256.HashSizeInBytes ? "a hash has 32 bytes"
        : arrival.State != InboxState.Quarantined && (arrival.DedupeKey is not { Length: > 0 } || arrival.OrderKey is not { Length: > 0 })
            ? "dedupe key and order key are missing"
        : arrival.Labels is { Id.Length: > LongestLabel } or { Type.Length: > LongestLabel }
            ? $"a label has at most {LongestLabel} characters"
        : arrival.Taking is { } taking && (taking.Replica.Length == 0 || taking.Hold <= TimeSpan.Zero)
            ? "who takes it has an id, and a time for it"
        : arrival.DedupeKey is { Length: > MaxKey } || arrival.OrderKey is { Length: > MaxKey } ? $"a key has at most {MaxKey} characters"
        : null;
}
