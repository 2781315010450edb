namespace Scheduler.Webhooks;

/// <summary>What a request has under one header name.</summary>
/// <param name="Count">How many values there are; 0 when the header is missing.</param>
/// <param name="Value">The value, when there is exactly one; else <see langword="null"/>.</param>
public readonly record struct WebhookHeader(int Count, string? Value)
{
    /// <summary>The header is missing.</summary>
    public static WebhookHeader None => default;

    /// <summary>The header is there once.</summary>
    /// <param name="value">Its value.</param>
    public static WebhookHeader One(string value) => new(1, value);

    /// <summary>The header is there several times, which no scheme accepts: two readers might read two different ones.</summary>
    /// <param name="count">How often; at least 2.</param>
    public static WebhookHeader Many(int count) => new(count, null);
}

/// <summary>
/// The headers of a request as whoever has them keeps them: a source and a function that looks a name up in it, without copying. Names are
/// looked up without regard to case, which is the function's part.
/// </summary>
/// <param name="source">For example ASP.NET's header dictionary.</param>
/// <param name="find">Gives what the source has under a name; a static function costs no allocation.</param>
/// <remarks>As safe for use by several threads as the source is.</remarks>
public readonly struct WebhookHeaders(object source, Func<object, string, WebhookHeader> find)
{
    /// <summary>Looks a header up.</summary>
    /// <param name="name">The header's name.</param>
    public WebhookHeader this[string name] => find(source, name);
}
