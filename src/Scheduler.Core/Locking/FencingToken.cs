using System.Globalization;
using System.Text.Json;
using System.Text.Json.Serialization;

namespace Scheduler.Locking;

/// <summary>
/// A positive 64-bit number that grows with every grant of a key: a resource refuses a smaller one than it has seen
/// (Kleppmann, "How to do distributed locking", 2016).
/// </summary>
/// <remarks>
/// The low 53 bits are the store's number, the 10 bits above them the generation, which rises when the lock store is replaced.
/// In JSON it is a string, because a JSON number keeps 53 bits only. Immutable and thread-safe.
/// </remarks>
/// <param name="Value">The whole number; 0 means "no token".</param>
[JsonConverter(typeof(FencingTokenJsonConverter))]
public readonly record struct FencingToken(long Value) : IComparable<FencingToken>
{
    private const int NumberBits = 53;

    /// <summary>The largest number that a store may hand out: 2^53 − 1.</summary>
    public const long MaxNumber = (1L << NumberBits) - 1;

    /// <summary>The largest generation: 1023.</summary>
    public const int MaxGeneration = 1023;

    /// <summary>The store's part.</summary>
    public long Number => Value & MaxNumber;

    /// <summary>The generation of the lock store, 0 to 1023.</summary>
    public int Generation => (int)(Value >> NumberBits);

    /// <summary>Puts a token together.</summary>
    /// <param name="generation">0 to <see cref="MaxGeneration"/>.</param>
    /// <param name="number">1 to <see cref="MaxNumber"/>.</param>
    /// <exception cref="ArgumentOutOfRangeException">A part is outside its range.</exception>
    public static FencingToken Compose(int generation, long number)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(generation);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(generation, MaxGeneration);
        ArgumentOutOfRangeException.ThrowIfLessThan(number, 1);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(number, MaxNumber);
        return new FencingToken(((long)generation << NumberBits) | number);
    }

    /// <inheritdoc/>
    public int CompareTo(FencingToken other) => Value.CompareTo(other.Value);

    /// <inheritdoc/>
    public override string ToString() => Value.ToString(CultureInfo.InvariantCulture);

    /// <summary>Whether the left token is older.</summary>
    public static bool operator <(FencingToken left, FencingToken right) => left.Value < right.Value;

    /// <summary>Whether the left token is newer.</summary>
    public static bool operator >(FencingToken left, FencingToken right) => left.Value > right.Value;

    /// <summary>Whether the left token is older or the same.</summary>
    public static bool operator <=(FencingToken left, FencingToken right) => left.Value <= right.Value;

    /// <summary>Whether the left token is newer or the same.</summary>
    public static bool operator >=(FencingToken left, FencingToken right) => left.Value >= right.Value;
}

internal sealed class FencingTokenJsonConverter : JsonConverter<FencingToken>
{
    public override FencingToken Read(ref Utf8JsonReader reader, Type typeToConvert, JsonSerializerOptions options) =>
        reader.TokenType == JsonTokenType.String && long.TryParse(reader.GetString(), CultureInfo.InvariantCulture, out var value)
            ? new FencingToken(value)
            : throw new JsonException("A fencing token is a string with a whole number in it, because JSON numbers keep 53 bits only.");

    public override void Write(Utf8JsonWriter writer, FencingToken value, JsonSerializerOptions options) =>
        writer.WriteStringValue(value.ToString());
}
