using System.Text;

namespace Scheduler.Locking;

/// <summary>The name that is locked, for example <c>job:settle</c>. Case-sensitive; compared byte by byte.</summary>
/// <remarks>The group is not part of it: each store puts its group before the key. Immutable and thread-safe.</remarks>
public readonly record struct LockKey : IComparable<LockKey>
{
    /// <summary>The longest key, in bytes of UTF-8.</summary>
    public const int MaxBytes = 512;

    private readonly string? _value;

    private LockKey(string value) => _value = value;

    /// <summary>The text of the key; empty only for the default value of this type, which no store accepts.</summary>
    public string Value => _value ?? string.Empty;

    /// <summary>Checks and wraps a text.</summary>
    /// <param name="value">1 to 512 bytes of UTF-8, without unpaired surrogates and control characters.</param>
    /// <exception cref="ArgumentException">The text is no lock key; the message says why and shows the start of it.</exception>
    public static LockKey From(string value) =>
        Problem(value) is { } problem ? throw new ArgumentException(problem, nameof(value)) : new LockKey(value);

    /// <summary>Says why a text is no lock key.</summary>
    /// <param name="value">The text in question.</param>
    /// <returns>What is wrong and what is allowed, or <see langword="null"/> when the text is a lock key.</returns>
    public static string? Problem(string? value)
    {
        if (string.IsNullOrEmpty(value))
        {
            return $"A lock key is empty; it must have 1 to {MaxBytes} bytes of UTF-8.";
        }
        try
        {
            var bytes = Strict.GetByteCount(value);
            if (bytes > MaxBytes)
            {
                return $"The lock key '{Start(value)}…' has {bytes} bytes of UTF-8; at most {MaxBytes} are allowed. "
                    + "Shorten the placeholders in it.";
            }
        }
        catch (EncoderFallbackException)
        {
            return $"The lock key '{Start(value)}…' contains an unpaired surrogate, so it has no UTF-8 form.";
        }
        return value.Any(char.IsControl)
            ? "A lock key contains a control character; percent-encode it (the placeholders of [SingleInstance] do)."
            : null;
    }

    /// <inheritdoc/>
    public int CompareTo(LockKey other) => string.CompareOrdinal(Value, other.Value);

    /// <inheritdoc/>
    public override string ToString() => Value;

    /// <summary>Whether the left key sorts before the right one, by code unit.</summary>
    public static bool operator <(LockKey left, LockKey right) => left.CompareTo(right) < 0;

    /// <summary>Whether the left key sorts after the right one, by code unit.</summary>
    public static bool operator >(LockKey left, LockKey right) => left.CompareTo(right) > 0;

    /// <summary>Whether the left key sorts before the right one or is the same.</summary>
    public static bool operator <=(LockKey left, LockKey right) => left.CompareTo(right) <= 0;

    /// <summary>Whether the left key sorts after the right one or is the same.</summary>
    public static bool operator >=(LockKey left, LockKey right) => left.CompareTo(right) >= 0;

    private static readonly UTF8Encoding Strict = new(encoderShouldEmitUTF8Identifier: false, throwOnInvalidBytes: true);

    private static string Start(string value) => value.Length <= 40 ? value : value[..40];
}
