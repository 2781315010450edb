namespace Scheduler.Webhooks.Verification;

/// <summary>
/// What headers that no signature covers say about a delivery. For people and for finding a handler; anybody on the way may have changed
/// it, so it is no part of a key.
/// </summary>
/// <param name="Id">The sender's id, for example <c>X-GitHub-Delivery</c>; 1 to 200 visible ASCII characters, or
/// <see langword="null"/>.</param>
/// <param name="Type">The sender's name for what happened, for example <c>X-GitHub-Event</c>; likewise.</param>
public readonly record struct WebhookLabels(string? Id, string? Type)
{
    private const int MaxLength = 200;

    internal static WebhookLabels Read(in WebhookHeaders headers, string idHeader, string typeHeader) =>
        new(Usable(headers[idHeader].Value), Usable(headers[typeHeader].Value));

    /// <summary>What a header says, if it is 1 to 200 visible ASCII characters.</summary>
    internal static string? Usable(string? value) =>
        value is { Length: > 0 and <= MaxLength } && !value.AsSpan().ContainsAnyExceptInRange('!', '~') ? value : null;
}
