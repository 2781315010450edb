using System.Text.Json.Serialization;

namespace Scheduler.Bench.Webhooks.Sending;

/// <summary>What a sender is told to send.</summary>
/// <param name="Urls">To which servers, in turn.</param>
/// <param name="Prefix">Begins the ids and orders; another one each time.</param>
/// <param name="Type">The events' type.</param>
/// <param name="Events">How many events are signed before; when they are used up it ends early.</param>
internal sealed record Load(IReadOnlyList<string> Urls, string Prefix, string Type, int Events)
{
    /// <summary>How many connections.</summary>
    public int Connections { get; init; } = 64;

    /// <summary>How often each event is sent.</summary>
    public int Copies { get; init; } = 1;

    /// <summary>How many requests a second, whether or not earlier ones are answered; 0: each connection sends when it has its
    /// answer.</summary>
    public int Rate { get; init; }

    /// <summary>How long it is sent before anything counts.</summary>
    public TimeSpan WarmUp { get; init; }

    /// <summary>How long it counts.</summary>
    public TimeSpan Counted { get; init; }

    /// <summary>Whether to tell of each event when it was answered.</summary>
    public bool WithTimes { get; init; }
}

/// <summary>What came of it.</summary>
/// <param name="Answered">Requests that were answered with 2xx while it counted.</param>
/// <param name="Errors">Requests that were answered otherwise or not at all, while it warmed up too.</param>
/// <param name="FirstError">The first of these.</param>
/// <param name="Seconds">How long it counted.</param>
/// <param name="P50">Milliseconds from when a request was to be sent until its answer was there.</param>
/// <param name="P99">The same.</param>
/// <param name="Worst">The same.</param>
/// <param name="Times">When each event was answered first, by the clock that all processes share; 0: not.</param>
internal sealed record LoadResult(
    long Answered,
    long Errors,
    string? FirstError,
    double Seconds,
    double P50,
    double P99,
    double Worst,
    IReadOnlyList<long>? Times
)
{
    /// <summary>The events that were answered with 2xx, where their times are told.</summary>
    [JsonIgnore]
    public IReadOnlyList<long> Accepted => [.. Enumerable.Range(0, Times!.Count).Where(i => Times[i] > 0).Select(i => (long)i)];

    /// <summary>Answers a second.</summary>
    public double PerSecond => Answered == 0 ? 0 : Answered / Seconds;
}
