using System.Globalization;

namespace Payments.Jobs.Storage;

/// <summary>Times as the tables keep them: ISO 8601 in UTC with milliseconds, so that text order is time order.</summary>
internal static class Instants
{
    /// <summary>The text of an instant.</summary>
    public static string Text(DateTimeOffset instant) =>
        instant.UtcDateTime.ToString("yyyy-MM-dd'T'HH:mm:ss.fff'Z'", CultureInfo.InvariantCulture);

    /// <summary>The UTC day of an instant.</summary>
    public static string Day(DateTimeOffset instant) => instant.UtcDateTime.ToString("yyyy-MM-dd", CultureInfo.InvariantCulture);
}
