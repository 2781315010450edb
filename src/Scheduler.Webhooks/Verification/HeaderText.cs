namespace Scheduler.Webhooks.Verification;

/// <summary>Reads one header that a signature needs.</summary>
internal static class HeaderText
{
    /// <summary>The longest header that is looked at, in characters.</summary>
    public const int MaxLength = 4_096;

    /// <summary>The value of a header, or what is wrong with it.</summary>
    public static string? Problem(in WebhookHeaders headers, string name, out string value)
    {
        var header = headers[name];
        value = header.Value ?? "";
        return header.Count == 0 ? $"the header {name} is missing"
            : header.Count > 1 ? $"the header {name} is there {header.Count} times; it must be there once"
            : value.Length == 0 ? $"the header {name} is empty"
            : value.Length > MaxLength ? $"the header {name} has {value.Length} characters; at most {MaxLength} are looked at"
            : null;
    }
}
