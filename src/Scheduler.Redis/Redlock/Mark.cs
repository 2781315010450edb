namespace Scheduler.Redis.Redlock;

/// <summary>Whose grant a value is, as it stands in it: owner, LF, number. Equal on all nodes that agree.</summary>
internal static class Mark
{
    /// <summary>Owner and number in a value.</summary>
    /// <exception cref="FormatException">Somebody else wrote it.</exception>
    public static ReadOnlySpan<char> Of(string value)
    {
        var first = value.IndexOf('\n', StringComparison.Ordinal);
        var second = first < 0 ? -1 : value.IndexOf('\n', first + 1);
        return first < 2 || second < 0
            ? throw new FormatException("a lock has a value that no scheduler wrote; delete that key or use another group")
            : value.AsSpan(2, second - 2);
    }

    /// <summary>The owner in a value.</summary>
    public static ReadOnlySpan<char> OwnerOf(string value)
    {
        var mark = Of(value);
        return mark[..mark.IndexOf('\n')];
    }

    /// <summary>
    /// Who goes on when no one has a majority: the same order for all who look, and a new one for each acquisition, so that no replica is
    /// always the last. (FNV-1a, 32 bits; equal hashes by the text itself.)
    /// </summary>
    public static bool IsBefore(ReadOnlySpan<char> owner, ReadOnlySpan<char> other)
    {
        var (mine, others) = (Hash(owner), Hash(other));
        return mine != others ? mine < others : owner.SequenceCompareTo(other) < 0;
    }

    /// <summary>A hash that is the same in every process and version.</summary>
    public static uint Hash(ReadOnlySpan<char> text)
    {
        var hash = 2_166_136_261;
        foreach (var c in text)
        {
            hash = (hash ^ c) * 16_777_619;
        }
        // The last characters differ most and would otherwise decide the low bits only.
        hash ^= hash >> 16;
        hash *= 0x7feb_352d;
        return hash ^ (hash >> 15);
    }
}
