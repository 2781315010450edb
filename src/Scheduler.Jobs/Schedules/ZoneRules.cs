using System.Collections.Concurrent;
using System.Globalization;
using System.Security.Cryptography;
using System.Text;

namespace Scheduler.Jobs.Schedules;

/// <summary>
/// Tells the rules of a time zone apart by what they say, not by the zone's name: hosts with different time-zone data read different times
/// from one definition of a trigger. Thread-safe.
/// </summary>
internal static class ZoneRules
{
    // Fixed for ever: with another span every definition in a zone would become a new one. Rules beyond it are not compared.
    private static readonly DateTimeOffset From = new(2026, 1, 1, 0, 0, 0, TimeSpan.Zero);
    private static readonly DateTimeOffset Until = new(2038, 1, 1, 0, 0, 0, TimeSpan.Zero);
    private static readonly TimeSpan Step = TimeSpan.FromDays(1);

    private static readonly ConcurrentDictionary<TimeZoneInfo, string> Known = new();

    /// <summary>The same text for the same offsets from UTC at all times of the years 2026 to 2037; empty for UTC itself.</summary>
    /// <remarks>Does not see two changes within a day that undo each other.</remarks>
    public static string Text(TimeZoneInfo zone) => Known.GetOrAdd(zone, static zone => Compute(zone));

    private static string Compute(TimeZoneInfo zone)
    {
        var changes = new StringBuilder();
        var offset = zone.GetUtcOffset(From);
        changes.Append(CultureInfo.InvariantCulture, $"{offset.TotalMinutes}");
        for (var day = From; day < Until; day += Step)
        {
            if (zone.GetUtcOffset(day + Step) == offset)
            {
                continue;
            }
            var change = Change(zone, day, offset);
            offset = zone.GetUtcOffset(day + Step);
            changes.Append(CultureInfo.InvariantCulture, $" {change.ToUnixTimeSeconds()} {offset.TotalMinutes}");
        }
        var text = changes.ToString();
        return text == "0" ? "" : Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(text)))[..12];
    }

    // The first second with another offset, within a day.
    private static DateTimeOffset Change(TimeZoneInfo zone, DateTimeOffset day, TimeSpan before)
    {
        var (low, high) = (0L, (long)Step.TotalSeconds);
        while (high - low > 1)
        {
            var middle = (low + high) / 2;
            (low, high) = zone.GetUtcOffset(day.AddSeconds(middle)) == before ? (middle, high) : (low, middle);
        }
        return day.AddSeconds(high);
    }
}
