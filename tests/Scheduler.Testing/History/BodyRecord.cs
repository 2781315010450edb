using System.Globalization;
using System.Text.Json;
using Scheduler.Runs;

namespace Scheduler.Testing.History;

/// <summary>How far a body had come when it wrote a line.</summary>
public enum BodyPhase
{
    /// <summary>It began.</summary>
    Begun = 0,

    /// <summary>Its token fired and it goes on all the same; from here on it is not acting under its lock.</summary>
    Told,

    /// <summary>It ended because its token fired.</summary>
    Cancelled,

    /// <summary>It ended because the protected resource refused its token.</summary>
    Refused,

    /// <summary>It ended by itself.</summary>
    Done,
}

/// <summary>One line that a body of the demo job wrote: what it was, and when by the host's boot clock, which no replica can
/// skew.</summary>
/// <param name="Occurrence">The occurrence that the body stands for.</param>
/// <param name="Attempt">Its attempt.</param>
/// <param name="Token">Its fencing token.</param>
/// <param name="Replica">The id of the replica.</param>
/// <param name="Begin">When the body began.</param>
/// <param name="End">When the line was written; <see langword="null"/> in a line of <see cref="BodyPhase.Begun"/>.</param>
/// <param name="Phase">How far it had come.</param>
public sealed record BodyRecord(
    Occurrence Occurrence,
    int Attempt,
    long Token,
    string Replica,
    TimeSpan Begin,
    TimeSpan? End,
    BodyPhase Phase
)
{
    /// <summary>Reads one line.</summary>
    /// <exception cref="FormatException">It is no line of the demo job.</exception>
    public static BodyRecord Parse(string line)
    {
        try
        {
            using var json = JsonDocument.Parse(line);
            var root = json.RootElement;
            return new BodyRecord(
                ParseOccurrence(root.GetProperty("occurrence").GetString()!),
                root.GetProperty("attempt").GetInt32(),
                long.Parse(root.GetProperty("token").GetString()!, CultureInfo.InvariantCulture),
                root.GetProperty("replica").GetString()!,
                Microseconds(root.GetProperty("begin"))!.Value,
                Microseconds(root.GetProperty("end")),
                Enum.Parse<BodyPhase>(root.GetProperty("outcome").GetString()!, ignoreCase: true)
            );
        }
        catch (Exception cause) when (cause is JsonException or KeyNotFoundException or ArgumentException or InvalidOperationException)
        {
            throw new FormatException($"No line of the demo job: {line}", cause);
        }
    }

    private static TimeSpan? Microseconds(JsonElement value) =>
        value.ValueKind == JsonValueKind.Null ? null : TimeSpan.FromMicroseconds(value.GetInt64());

    private static Occurrence ParseOccurrence(string text)
    {
        var at = text.LastIndexOf('@');
        var slash = text.IndexOf('/', StringComparison.Ordinal);
        return new Occurrence(
            text[..slash],
            text[(slash + 1)..at],
            DateTimeOffset.Parse(text[(at + 1)..], CultureInfo.InvariantCulture, DateTimeStyles.RoundtripKind)
        );
    }
}
