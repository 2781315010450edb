using System.Globalization;
using Scheduler.Locking;

namespace Scheduler.Redis;

/// <summary>The value of a lock as the scripts write it: contended flag, revoked flag, owner, LF, number, LF, purpose.</summary>
internal readonly record struct LockValue(string Holder, long Number, string Purpose, bool Revoked)
{
    /// <summary>Takes a value apart.</summary>
    /// <exception cref="FormatException">Somebody else wrote it.</exception>
    public static LockValue Parse(string value)
    {
        var first = value.IndexOf('\n', StringComparison.Ordinal);
        var second = first < 0 ? -1 : value.IndexOf('\n', first + 1);
        if (
            first < 2
            || second < 0
            || !long.TryParse(value.AsSpan(first + 1, second - first - 1), CultureInfo.InvariantCulture, out var number)
        )
        {
            throw new FormatException("a lock has a value that no scheduler wrote; delete that key or use another group");
        }
        return new LockValue(LeaseOwner.ReplicaOf(value[2..first]), number, value[(second + 1)..], value[1] == '1');
    }
}
