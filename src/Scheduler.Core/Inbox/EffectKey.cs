using System.Security.Cryptography;
using System.Text;

namespace Scheduler.Inbox;

/// <summary>Names one effect of one event, so that it is applied once however often the event is processed. Immutable.</summary>
/// <param name="Source">The event's source.</param>
/// <param name="DedupeKey">The event's dedupe key.</param>
/// <param name="Name">What is done.</param>
public sealed record EffectKey(string Source, string DedupeKey, string Name)
{
    /// <summary>A stable idempotency key for services outside: 64 lower-case hexadecimal digits.</summary>
    public string IdempotencyKey =>
        // Each part with its length before it, so that no two keys read the same.
        Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes($"{Source.Length}:{Source}{DedupeKey.Length}:{DedupeKey}{Name}")));
}
