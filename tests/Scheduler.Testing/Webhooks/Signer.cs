using System.Globalization;
using System.Security.Cryptography;
using System.Text;

namespace Scheduler.Testing.Webhooks;

/// <summary>What a sender of <c>standard-webhooks</c> signs with, and the requests that it makes.</summary>
public static class Signer
{
    /// <summary>The source that it delivers to.</summary>
    public const string Source = "payments";

    private const string KeyText = "c2NoZWR1bGVyLWJlbmNoLXdlYmhvb2tzLWtleS0wMQ==";

    /// <summary>The secret as it is configured.</summary>
    public const string Secret = $"whsec_{KeyText}";

    /// <summary>The secret's bytes.</summary>
    public static byte[] Key { get; } = Convert.FromBase64String(KeyText);

    /// <summary>A whole request, signed now.</summary>
    /// <param name="id">The event's id.</param>
    /// <param name="body">The body.</param>
    /// <param name="key">The key to sign with; default: the right one.</param>
    public static byte[] Request(string id, string body, byte[]? key = null)
    {
        var time = TimeProvider.System.GetUtcNow().ToUnixTimeSeconds().ToString(CultureInfo.InvariantCulture);
        var signed = Encoding.UTF8.GetBytes($"{id}.{time}.{body}");
        var signature = Convert.ToBase64String(HMACSHA256.HashData(key ?? Key, signed));
        var length = Encoding.UTF8.GetByteCount(body);
        return Encoding.UTF8.GetBytes(
            string.Create(
                CultureInfo.InvariantCulture,
                $"POST /webhooks/{Source} HTTP/1.1\r\nHost: replica\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n"
            ) + $"webhook-id: {id}\r\nwebhook-timestamp: {time}\r\nwebhook-signature: v1,{signature}\r\n\r\n{body}"
        );
    }

    /// <summary>The body of an event such as a payment provider sends.</summary>
    public static string Body(string type, string order, long index) =>
        string.Create(
            CultureInfo.InvariantCulture,
            $$"""
            {"type":"{{type}}","orderId":"{{order}}","index":{{index}},"paymentId":"pay_{{order}}","merchantId":"merchant-{{index % 100}}",
            "amountMinor":{{100 + (index % 10_000)}},"currency":"EUR","paidAt":"2026-01-31T12:00:00Z","method":"card","country":"DE"}
            """
        );
}
