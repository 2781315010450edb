using System.Globalization;

namespace Payments.Jobs.Importing;

/// <summary>Reads a payment from the values of a line, strictly: what is not exactly right is refused with the reason.</summary>
internal static class PaymentLine
{
    /// <summary>The columns of a payments file, in order.</summary>
    public static readonly IReadOnlyList<string> Columns = ["payment_id", "merchant_id", "order_id", "amount_minor", "currency", "paid_at"];

    /// <summary>The largest amount: far above any payment, and a million of them still fit a 64-bit sum.</summary>
    public const long MaxAmountMinor = 1_000_000_000_000;

    private const int MaxIdLength = 64;

    // An instant ends in Z or in a whole offset, so a line that was cut short never reads as an earlier time.
    private static readonly string[] TimeFormats = ["yyyy-MM-dd'T'HH:mm:ssK", "yyyy-MM-dd'T'HH:mm:ss.FFFFFFFK"];

    /// <summary>Reads the values.</summary>
    /// <returns>The payment, or <see langword="null"/> with the reason in <paramref name="problem"/>.</returns>
    public static Payment? Read(IReadOnlyList<string> fields, out string? problem)
    {
        if (fields.Count != Columns.Count)
        {
            problem = $"{fields.Count} values instead of {Columns.Count} ({string.Join(',', Columns)})";
            return null;
        }
        problem = IdProblem(0, fields) ?? IdProblem(1, fields) ?? IdProblem(2, fields);
        if (problem is not null)
        {
            return null;
        }
        if (!long.TryParse(fields[3], NumberStyles.None, CultureInfo.InvariantCulture, out var amount) || amount is < 1 or > MaxAmountMinor)
        {
            problem = $"amount_minor is '{Shown(fields[3])}'; it must be a whole number of minor units from 1 to {MaxAmountMinor}";
            return null;
        }
        if (!Iso4217.IsCurrency(fields[4]))
        {
            problem = $"currency is '{Shown(fields[4])}'; it must be a currency of ISO 4217 in three capital letters, such as EUR";
            return null;
        }
        if (!IsInstant(fields[5], out var paidAt))
        {
            problem =
                $"paid_at is '{Shown(fields[5])}'; it must be an instant of ISO 8601 with Z or an offset, such as 2026-01-31T10:15:00Z";
            return null;
        }
        return new Payment(fields[0], fields[1], fields[2], amount, fields[4], paidAt);
    }

    /// <summary>A value as errors show it: its start, without what could break a line of a log.</summary>
    public static string Shown(string value)
    {
        var start = value.Length <= 40 ? value : value[..40] + "…";
        return string.Concat(start.Select(c => char.IsControl(c) ? '?' : c));
    }

    private static string? IdProblem(int column, IReadOnlyList<string> fields)
    {
        var value = fields[column];
        if (value.Length == 0)
        {
            return $"{Columns[column]} is empty";
        }
        return value.Length <= MaxIdLength && value.All(c => char.IsAsciiLetterOrDigit(c) || c is '-' or '_' or '.' or ':')
            ? null
            : $"{Columns[column]} is '{Shown(value)}'; it must be 1 to {MaxIdLength} characters out of A-Z, a-z, 0-9, '-', '_', "
                + "'.' and ':'";
    }

    private static bool IsInstant(string value, out DateTimeOffset instant)
    {
        // K also takes "no zone at all", which would mean whatever zone the machine is in.
        instant = default;
        var hasZone = value.EndsWith('Z') || (value.Length > 6 && value[^6] is '+' or '-' && value[^3] == ':');
        return hasZone
            && DateTimeOffset.TryParseExact(value, TimeFormats, CultureInfo.InvariantCulture, DateTimeStyles.None, out instant)
            && instant.UtcDateTime.Year is > 1970 and < 9999;
    }
}
