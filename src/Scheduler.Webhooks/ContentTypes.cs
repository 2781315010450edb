namespace Scheduler.Webhooks;

/// <summary>Which content types a delivery may have: JSON in UTF-8. Without the header the bytes alone decide.</summary>
internal static class ContentTypes
{
    private const string Header = "Content-Type";

    private const string Expected = "send application/json in UTF-8";

    /// <summary>Says why a content type is not taken, without repeating what was sent.</summary>
    /// <param name="headers">The request's headers.</param>
    /// <param name="isGitHub">Whether the remedy is a setting of GitHub.</param>
    public static string? Problem(in WebhookHeaders headers, bool isGitHub)
    {
        var header = headers[Header];
        if (header.Count == 0)
        {
            return null;
        }
        if (header.Value is not { } text)
        {
            return $"the header {Header} is there {header.Count} times; {Expected}";
        }
        var parts = text.AsSpan().Split(';');
        parts.MoveNext();
        var type = text.AsSpan(parts.Current).Trim();
        if (type.Equals("application/x-www-form-urlencoded", StringComparison.OrdinalIgnoreCase))
        {
            return isGitHub
                ? "the body is form-encoded; in the webhook's settings at GitHub choose 'Content type: application/json'"
                : $"the body is form-encoded; {Expected}";
        }
        if (!IsJson(type))
        {
            return $"the header {Header} names no JSON; {Expected}";
        }
        while (parts.MoveNext())
        {
            if (!IsHarmless(text.AsSpan(parts.Current).Trim()))
            {
                return $"the header {Header} names another charset than UTF-8; {Expected}";
            }
        }
        return null;
    }

    private static bool IsJson(ReadOnlySpan<char> type) =>
        type.Equals("application/json", StringComparison.OrdinalIgnoreCase)
        || type.Equals("text/json", StringComparison.OrdinalIgnoreCase)
        || (
            type.StartsWith("application/", StringComparison.OrdinalIgnoreCase)
            && type.EndsWith("+json", StringComparison.OrdinalIgnoreCase)
        );

    private static bool IsHarmless(ReadOnlySpan<char> parameter) =>
        !parameter.StartsWith("charset=", StringComparison.OrdinalIgnoreCase)
        || parameter["charset=".Length..].Trim('"').Equals("utf-8", StringComparison.OrdinalIgnoreCase);
}
