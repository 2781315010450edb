using System.Globalization;
using System.Text.Json;
using Scheduler.Runs;

namespace Scheduler.Testing.History;

/// <summary>A row of <c>GET /api/runs</c>.</summary>
public sealed record RunRow(
    string Id,
    Occurrence Occurrence,
    string State,
    int Attempt,
    long Token,
    string? Replica,
    DateTimeOffset? StartedAt,
    DateTimeOffset? FinishedAt,
    string? Error
)
{
    /// <summary>Whether the run is over.</summary>
    public bool IsFinal => State is "succeeded" or "failed" or "dead" or "overlapped";

    /// <summary>Reads one item of the answer.</summary>
    public static RunRow Read(JsonElement item) =>
        new(
            item.GetProperty("id").GetString()!,
            new Occurrence(
                item.GetProperty("job").GetString()!,
                item.GetProperty("trigger").GetString()!,
                item.GetProperty("scheduledAt").GetDateTimeOffset()
            ),
            item.GetProperty("state").GetString()!,
            item.GetProperty("attempt").GetInt32(),
            Text(item, "token") is { } token ? long.Parse(token, CultureInfo.InvariantCulture) : 0,
            Text(item, "replica"),
            Time(item, "startedAt"),
            Time(item, "finishedAt"),
            Text(item, "error")
        );

    private static string? Text(JsonElement item, string name) =>
        item.TryGetProperty(name, out var value) && value.ValueKind == JsonValueKind.String ? value.GetString() : null;

    private static DateTimeOffset? Time(JsonElement item, string name) =>
        Text(item, name) is { } text ? DateTimeOffset.Parse(text, CultureInfo.InvariantCulture) : null;
}
