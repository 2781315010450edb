using System.Globalization;

namespace Scheduler.Webhooks.Verification;

/// <summary>The time of a signature: seconds since 1970 in decimal digits, held against this replica's clock.</summary>
/// <param name="tolerance">How far it may be away, both ways.</param>
/// <param name="time">The clock.</param>
internal sealed class SignedTime(TimeSpan tolerance, TimeProvider time)
{
    /// <summary>The most digits: the end of year 9999.</summary>
    public const int MaxDigits = 12;

    private static readonly long Last = DateTimeOffset.MaxValue.ToUnixTimeSeconds();

    /// <summary>Reads a time. Only digits count: a sign or a point would let the signed text be divided in two ways.</summary>
    public static bool TryRead(ReadOnlySpan<char> text, out DateTimeOffset at)
    {
        at = default;
        if (
            text.Length is 0 or > MaxDigits
            || !long.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out var seconds)
            || seconds > Last
        )
        {
            return false;
        }
        at = DateTimeOffset.FromUnixTimeSeconds(seconds);
        return true;
    }

    /// <summary>Says how far a time is away, if that is too far. The tolerance itself is not.</summary>
    public string? Problem(DateTimeOffset at)
    {
        var age = time.GetUtcNow() - at;
        return age > tolerance ? TooFar(age, "old")
            : -age > tolerance ? TooFar(-age, "ahead of this host's clock")
            : null;
    }

    private string TooFar(TimeSpan by, string where) =>
        string.Create(
            CultureInfo.InvariantCulture,
            $"the signature's time is {Math.Ceiling(by.TotalSeconds)} s {where}; at most {tolerance.TotalSeconds} s are allowed"
        );
}
