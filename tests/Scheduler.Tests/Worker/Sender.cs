using System.Globalization;
using System.Net.Http.Headers;
using System.Security.Cryptography;
using System.Text;

namespace Scheduler.Tests.Worker;

/// <summary>A sender of webhooks to the source <c>payments</c>, by the scheme <c>standard-webhooks</c>.</summary>
internal static class Sender
{
    public const string Secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

    private static int s_events;

    /// <summary>What a worker has to be told of it.</summary>
    public static IReadOnlyList<(string Key, string? Value)> Settings { get; } =
    [("Scheduler:Webhooks:Sources:payments:Scheme", "standard-webhooks"), ("Scheduler:Webhooks:Sources:payments:Secrets:0", Secret)];

    /// <summary>A payment's event.</summary>
    public static string Paid(string order, int amount)
    {
        var shown = amount.ToString(CultureInfo.InvariantCulture);
        return $$"""
            {"type":"payment.succeeded","orderId":"{{order}}","paymentId":"pay_{{order}}","merchantId":"merchant-1",
            "amountMinor":{{shown}},"currency":"EUR","paidAt":"2026-01-31T12:00:00Z"}
            """;
    }

    /// <summary>Signs a body as a new event.</summary>
    /// <param name="body">What is signed.</param>
    /// <param name="at">How far the signature's time is off.</param>
    public static IReadOnlyList<(string Name, string Value)> Sign(string body, TimeSpan at = default) =>
        Sign(Encoding.UTF8.GetBytes(body), at);

    /// <summary>Signs a body as a new event.</summary>
    public static IReadOnlyList<(string Name, string Value)> Sign(ReadOnlySpan<byte> body, TimeSpan at = default)
    {
        var id = string.Create(CultureInfo.InvariantCulture, $"msg_{Interlocked.Increment(ref s_events)}");
        var time = (TimeProvider.System.GetUtcNow() + at).ToUnixTimeSeconds().ToString(CultureInfo.InvariantCulture);
        byte[] signed = [.. Encoding.UTF8.GetBytes($"{id}.{time}."), .. body];
        var hash = HMACSHA256.HashData(Convert.FromBase64String(Secret[6..]), signed);
        return [("webhook-id", id), ("webhook-timestamp", time), ("webhook-signature", $"v1,{Convert.ToBase64String(hash)}")];
    }

    /// <summary>Delivers an event.</summary>
    public static async Task<Answer> DeliverAsync(
        WorkerApp app,
        string body,
        string source = "payments",
        string? signed = null,
        TimeSpan at = default,
        string type = "application/json",
        Action<HttpRequestMessage>? change = null
    )
    {
        using var request = new HttpRequestMessage(HttpMethod.Post, new Uri($"{app.Ingress}/webhooks/{source}"));
        request.Content = new ByteArrayContent(Encoding.UTF8.GetBytes(body));
        request.Content.Headers.ContentType = new MediaTypeHeaderValue(type);
        foreach (var (name, value) in Sign(signed ?? body, at))
        {
            request.Headers.Add(name, value);
        }
        change?.Invoke(request);
        return await app.SendAsync(request);
    }

    /// <summary>The head of a delivery as text, with its empty line.</summary>
    /// <param name="headers">The signature, and whatever else.</param>
    /// <param name="framing">For example <c>Content-Length: 3</c>.</param>
    public static string Head(IEnumerable<(string Name, string Value)> headers, string framing) =>
        "POST /webhooks/payments HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
        + string.Concat(headers.Select(h => $"{h.Name}: {h.Value}\r\n"))
        + framing
        + "\r\n\r\n";
}
