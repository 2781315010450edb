using System.Globalization;
using System.Text.Json;
using Quartz;
using Scheduler.Runs;

namespace Scheduler.Jobs;

/// <summary>How Quartz's keys and data maps appear in the ledger and back.</summary>
internal static class QuartzNames
{
    /// <summary>The trigger group of the one-shot triggers that start runs which no schedule of this replica fired.</summary>
    public const string LaunchGroup = "scheduler.runs";

    /// <summary>In the data of such a trigger: the run's id, absent for an occurrence without a row.</summary>
    public const string RunId = "scheduler.runId";

    /// <summary>In the data of such a trigger: the name of the trigger that the run stands for.</summary>
    public const string Trigger = "scheduler.trigger";

    /// <summary>In the data of such a trigger: the key that the run locks.</summary>
    public const string LockKey = "scheduler.lockKey";

    /// <summary>In the kept data of a run: the types of values that JSON would change.</summary>
    public const string Types = "scheduler.types";

    /// <summary>The longest job data of a run, in characters of JSON.</summary>
    public const int MaxDataLength = 64 * 1024;

    /// <summary>The job's name: its key, with the group in front unless it is Quartz's default.</summary>
    public static string JobName(JobKey key) => key.Group == JobKey.DefaultGroup ? key.Name : $"{key.Group}.{key.Name}";

    /// <summary>The trigger's name within its job.</summary>
    public static string TriggerName(ITrigger trigger) =>
        trigger.Key.Group == TriggerKey.DefaultGroup || trigger.Key.Group == trigger.JobKey.Name
            ? trigger.Key.Name
            : $"{trigger.Key.Group}.{trigger.Key.Name}";

    /// <summary>Whether an entry of a data map is Quartz's or our own.</summary>
    public static bool IsReserved(string name) =>
        name.StartsWith("scheduler.", StringComparison.Ordinal) || name.StartsWith("QRTZ_", StringComparison.Ordinal);

    /// <summary>
    /// A data map as the ledger keeps it, without Quartz's and our own entries; <see langword="null"/> for an empty one. Numbers that
    /// JSON would give back as another type are texts, with their type under <see cref="Types"/>.
    /// </summary>
    /// <exception cref="JobExecutionException">A value is no text, number or truth value, or all together are too long.</exception>
    public static string? ToJson(JobDataMap data)
    {
        var kept = new SortedDictionary<string, object?>(StringComparer.Ordinal);
        var types = new SortedDictionary<string, string>(StringComparer.Ordinal);
        foreach (var (name, value) in data)
        {
            if (IsReserved(name))
            {
                continue;
            }
            var (text, type) = TypedText(name, value);
            kept[name] = text ?? value;
            if (type is not null)
            {
                types[name] = type;
            }
        }
        if (kept.Count == 0)
        {
            return null;
        }
        if (types.Count > 0)
        {
            kept[Types] = types;
        }
        var json = JsonSerializer.Serialize(kept);
        return json.Length <= MaxDataLength
            ? json
            : throw new JobExecutionException(
                $"The job data has {json.Length} characters as JSON; at most {MaxDataLength} are allowed. Keep the data in a "
                    + "database and its id in the job data."
            );
    }

    /// <summary>Puts kept data back into a map, each value with the type that it had.</summary>
    public static JobDataMap FromJson(string? json)
    {
        var map = new JobDataMap();
        if (json is null)
        {
            return map;
        }
        using var document = JsonDocument.Parse(json);
        var types = document.RootElement.TryGetProperty(Types, out var found) ? found : default;
        foreach (var property in document.RootElement.EnumerateObject().Where(p => p.Name != Types))
        {
            var type =
                types.ValueKind == JsonValueKind.Object && types.TryGetProperty(property.Name, out var name) ? name.GetString() : null;
            map[property.Name] = type is null ? Plain(property.Value) : Typed(property.Value.GetString()!, type);
        }
        return map;
    }

    private static object? Plain(JsonElement value) =>
        value.ValueKind switch
        {
            JsonValueKind.True => true,
            JsonValueKind.False => false,
            JsonValueKind.Null => null,
            JsonValueKind.Number when value.TryGetInt32(out var small) => small,
            JsonValueKind.Number when value.TryGetInt64(out var whole) => whole,
            JsonValueKind.Number => value.GetDouble(),
            _ => value.GetString(),
        };

    private static (string? Text, string? Type) TypedText(string name, object? value) =>
        value switch
        {
            null or string or bool or int => (null, null),
            long number => number is > int.MaxValue or < int.MinValue ? (null, null) : (Invariant(number), "long"),
            double number => double.IsFinite(number) && Invariant(number).Contains('.', StringComparison.Ordinal)
                ? (null, null)
                : (Invariant(number), "double"),
            float number => (Invariant(number), "float"),
            decimal number => (Invariant(number), "decimal"),
            _ => throw new JobExecutionException(
                $"The job data '{name}' is a {value.GetType().Name}; data of a [SingleInstance] job must be text, number or "
                    + "truth value, so that another replica can go on with it."
            ),
        };

    private static object Typed(string text, string type) =>
        type switch
        {
            "long" => long.Parse(text, CultureInfo.InvariantCulture),
            "double" => double.Parse(text, CultureInfo.InvariantCulture),
            "float" => float.Parse(text, CultureInfo.InvariantCulture),
            "decimal" => decimal.Parse(text, CultureInfo.InvariantCulture),
            _ => throw new FormatException($"The job data have a value of the unknown type '{type}'; a newer release wrote them."),
        };

    private static string Invariant(IFormattable value) => value.ToString(null, CultureInfo.InvariantCulture);

    /// <summary>The occurrence of a launched run: the original trigger and time, not those of the one-shot trigger.</summary>
    public static Occurrence LaunchedOccurrence(IJobExecutionContext context) =>
        new(JobName(context.JobDetail.Key), (string)context.Trigger.JobDataMap[Trigger]!, Scheduled(context));

    /// <summary>The scheduled time of a fire, in whole milliseconds.</summary>
    public static DateTimeOffset Scheduled(IJobExecutionContext context) =>
        DateTimeOffset.FromUnixTimeMilliseconds((context.ScheduledFireTimeUtc ?? context.FireTimeUtc).ToUnixTimeMilliseconds());
}
