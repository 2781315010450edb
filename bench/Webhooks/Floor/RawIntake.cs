using System.Globalization;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using Microsoft.AspNetCore.Http;
using Scheduler.Testing.Webhooks;

namespace Scheduler.Bench.Webhooks.Floor;

/// <summary>A genuine event by hand.</summary>
/// <param name="Key">Type and order: once.</param>
/// <param name="Order">The order.</param>
/// <param name="EventId">The sender's id.</param>
/// <param name="Type">The type.</param>
/// <param name="Body">The body.</param>
internal sealed record RawEvent(string Key, string Order, string EventId, string Type, byte[] Body);

/// <summary>The least that a hand-written receiver does: the signature over the raw bytes, its time, and two texts of the body.
/// Stateless and thread-safe.</summary>
internal static class RawIntake
{
    private const int Tolerance = 3_600;

    /// <summary>Reads and checks a request; <see langword="null"/> when it is not genuine or has no key.</summary>
    public static async ValueTask<RawEvent?> ReadAsync(HttpRequest request)
    {
        var body = new byte[(int)request.ContentLength.GetValueOrDefault()];
        await request.Body.ReadExactlyAsync(body);
        var headers = request.Headers;
        var (id, time) = (headers["webhook-id"].ToString(), headers["webhook-timestamp"].ToString());
        if (!IsGenuine(id, time, headers["webhook-signature"].ToString(), body))
        {
            return null;
        }
        var (type, order) = Keys(body);
        return type is null || order is null ? null : new RawEvent($"{type}:{order}", order, id, type, body);
    }

    private static bool IsGenuine(string id, string time, string signature, byte[] body)
    {
        if (
            !long.TryParse(time, NumberStyles.None, CultureInfo.InvariantCulture, out var seconds)
            || Math.Abs(TimeProvider.System.GetUtcNow().ToUnixTimeSeconds() - seconds) > Tolerance
            || !signature.StartsWith("v1,", StringComparison.Ordinal)
        )
        {
            return false;
        }
        var head = $"{id}.{time}.";
        var signed = new byte[head.Length + body.Length];
        Encoding.ASCII.GetBytes(head, signed);
        body.CopyTo(signed, head.Length);
        Span<byte> expected = stackalloc byte[HMACSHA256.HashSizeInBytes];
        HMACSHA256.HashData(Signer.Key, signed, expected);
        Span<byte> given = stackalloc byte[HMACSHA256.HashSizeInBytes];
        return Convert.TryFromBase64Chars(signature.AsSpan(3), given, out var length)
            && length == given.Length
            && CryptographicOperations.FixedTimeEquals(expected, given);
    }

    private static (string? Type, string? Order) Keys(ReadOnlySpan<byte> body)
    {
        string? type = null;
        string? order = null;
        var reader = new Utf8JsonReader(body);
        while (reader.Read())
        {
            if (reader.TokenType != JsonTokenType.PropertyName || reader.CurrentDepth != 1)
            {
                continue;
            }
            if (reader.ValueTextEquals("type"u8))
            {
                reader.Read();
                type = reader.GetString();
            }
            else if (reader.ValueTextEquals("orderId"u8))
            {
                reader.Read();
                order = reader.GetString();
            }
        }
        return (type, order);
    }
}
