namespace Scheduler.Webhooks.Sources;

/// <summary>Where a source's event type is. Stateless and thread-safe.</summary>
internal static class TypePlace
{
    private const string Header = "header:";

    /// <summary>The name behind <c>header:</c>, or <see langword="null"/> for a pointer.</summary>
    public static string? HeaderOf(string? typeFrom) =>
        typeFrom?.StartsWith(Header, StringComparison.Ordinal) == true ? typeFrom[Header.Length..] : null;
}
