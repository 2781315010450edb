using System.Globalization;
using Scheduler.Locking;
using StackExchange.Redis;

namespace Scheduler.Redis;

/// <summary>
/// Pages of grants out of SCAN. The place in the list is SCAN's cursor and how many grants of its step were shown already, because a
/// step gives as many as it likes.
/// </summary>
internal sealed class RedisListing(RedisConnection connection, RedisNames names)
{
    private const int KeysPerStep = 1_000;
    private const int MaxStepsPerPage = 50;

    public async Task<LeasePage> PageAsync(string prefix, int limit, string? cursor, CancellationToken cancellationToken)
    {
        var (scan, skip) = Read(cursor);
        var pattern = names.PatternFor(prefix);
        var items = new List<LeaseRecord>();
        for (var steps = 0; steps < MaxStepsPerPage; steps++)
        {
            var reply = (RedisResult[])
                (await connection.CallHarmlessAsync(RedisScript.List, [], [scan, pattern, KeysPerStep], cancellationToken))!;
            var found = Records(reply);
            var shown = found.Skip(skip).Take(limit - items.Count).ToList();
            items.AddRange(shown);
            if (skip + shown.Count < found.Count)
            {
                return Page(items, scan, skip + shown.Count);
            }
            (scan, skip) = ((string)reply[0]!, 0);
            if (scan == "0")
            {
                return Page(items, null, 0);
            }
            if (items.Count == limit)
            {
                break;
            }
        }
        return Page(items, scan, skip);
    }

    private List<LeaseRecord> Records(RedisResult[] reply)
    {
        var found = new List<LeaseRecord>((reply.Length - 1) / 3);
        for (var i = 1; i + 2 < reply.Length; i += 3)
        {
            var name = names.KeyOf((string)reply[i]!);
            if (LockKey.Problem(name) is null)
            {
                found.Add(RedisLeaseStore.Record(LockKey.From(name), (string)reply[i + 1]!, (long)reply[i + 2]));
            }
        }
        found.Sort(static (a, b) => a.Key.CompareTo(b.Key));
        return found;
    }

    private static LeasePage Page(List<LeaseRecord> items, string? scan, int skip)
    {
        items.Sort(static (a, b) => a.Key.CompareTo(b.Key));
        return new LeasePage(items, scan is null ? null : string.Create(CultureInfo.InvariantCulture, $"{scan}-{skip}"));
    }

    private static (string Scan, int Skip) Read(string? cursor)
    {
        if (cursor is null)
        {
            return ("0", 0);
        }
        var dash = cursor.IndexOf('-', StringComparison.Ordinal);
        return
            dash > 0
            && ulong.TryParse(cursor.AsSpan(0, dash), NumberStyles.None, CultureInfo.InvariantCulture, out _)
            && int.TryParse(cursor.AsSpan(dash + 1), NumberStyles.None, CultureInfo.InvariantCulture, out var skip)
            ? (cursor[..dash], skip)
            : throw new ArgumentException($"'{cursor}' is no cursor of this list; hand in what the page before gave.", nameof(cursor));
    }
}
