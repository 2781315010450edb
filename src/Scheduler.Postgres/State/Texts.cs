namespace Scheduler.Postgres.State;

/// <summary>Texts of people and programs, as a column can keep them. Stateless and thread-safe.</summary>
internal static class Texts
{
    /// <summary>
    /// A text may hold anything; NUL and halves of surrogate pairs are the two things that a text column cannot, and what is to be
    /// recorded must not fail for them for ever.
    /// </summary>
    public static string? Keepable(string? text)
    {
        if (text is null || (!text.Contains('\0', StringComparison.Ordinal) && !text.AsSpan().ContainsAnyInRange('\uD800', '\uDFFF')))
        {
            return text;
        }
        var whole = System.Text.Encoding.UTF8.GetString(System.Text.Encoding.UTF8.GetBytes(text));
        return whole.Replace('\0', '\uFFFD');
    }
}
