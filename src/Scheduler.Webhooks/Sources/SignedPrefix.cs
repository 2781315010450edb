namespace Scheduler.Webhooks.Sources;

/// <summary>What scheme <c>hmac</c> signs before the body, with a place for the time.</summary>
internal static class SignedPrefix
{
    /// <summary>Stands for the time.</summary>
    public const string Time = "{timestamp}";

    /// <summary>Unless the configuration says otherwise.</summary>
    public const string Default = Time + ".";

    /// <summary>What stands before the time and behind it; both <see langword="null"/> when it has none.</summary>
    public static (string? Before, string? After) Split(string text)
    {
        var at = text.IndexOf(Time, StringComparison.Ordinal);
        return at < 0 ? (null, null) : (text[..at], text[(at + Time.Length)..]);
    }
}
