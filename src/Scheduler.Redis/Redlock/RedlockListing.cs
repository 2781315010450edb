using System.Globalization;
using Scheduler.Locking;

namespace Scheduler.Redis.Redlock;

/// <summary>
/// Pages of grants over the nodes: a majority of the nodes is looked through one after another, as each grant stands on one of them at
/// least, and what is found is shown as a majority sees it, at the first of these nodes that has it. The place in the list is the nodes,
/// which of them is being looked through, and the place there.
/// </summary>
internal sealed class RedlockListing(RedlockNode[] nodes, RedlockKeys names, Bounded bounded)
{
    private const int KeysPerShow = 250;

    public async ValueTask<LeasePage> PageAsync(string prefix, int limit, string? cursor, CancellationToken cancellationToken)
    {
        var (order, at, place) = cursor is null ? (Choose(), 0, null) : Read(cursor);
        var items = new List<LeaseRecord>();
        while (true)
        {
            var page = await new RedisListing(nodes[order[at]].Connection, names.Names).PageAsync(
                prefix,
                limit - items.Count,
                place,
                cancellationToken
            );
            foreach (var some in page.Items.Select(i => i.Key).Chunk(KeysPerShow))
            {
                await AddAsync(items, some, order[..at], cancellationToken);
            }
            (at, place) = page.Next is null ? (at + 1, null) : (at, page.Next);
            if (at == order.Length)
            {
                return Page(items, null);
            }
            // A step that showed nothing ends the page too: otherwise one page could look through everything.
            if (items.Count == limit || page.Next is not null)
            {
                return Page(items, $"{string.Join('.', order)}/{at}/{place}");
            }
        }
    }

    private async ValueTask AddAsync(List<LeaseRecord> items, LockKey[] keys, int[] before, CancellationToken cancellationToken)
    {
        var call = new ShowCall(nodes, names, bounded, keys, before);
        var grants = await call.RunAsync(cancellationToken);
        for (var i = 0; i < keys.Length; i++)
        {
            if (grants[i] is { } grant && !call.IsShownByAwaited(i, grant))
            {
                items.Add(grant);
            }
        }
    }

    private int[] Choose()
    {
        int[] usable = [.. nodes.Where(n => n.Usable is not null).Select(n => n.Index)];
        var majority = (nodes.Length / 2) + 1;
        return usable.Length >= majority ? usable[..majority] : throw Quorum.Unavailable(nodes);
    }

    private static LeasePage Page(List<LeaseRecord> items, string? next)
    {
        items.Sort(static (a, b) => a.Key.CompareTo(b.Key));
        return new LeasePage(items, next);
    }

    private (int[] Order, int At, string? Place) Read(string cursor)
    {
        var parts = cursor.Split('/');
        if (parts.Length == 3 && int.TryParse(parts[1], NumberStyles.None, CultureInfo.InvariantCulture, out var at))
        {
            var order = Array.ConvertAll(
                parts[0].Split('.'),
                n => int.TryParse(n, NumberStyles.None, CultureInfo.InvariantCulture, out var node) ? node : -1
            );
            if (at < order.Length && Array.TrueForAll(order, n => n >= 0 && n < nodes.Length))
            {
                return (order, at, parts[2].Length == 0 ? null : parts[2]);
            }
        }
        throw new ArgumentException($"'{cursor}' is no cursor of this list; hand in what the page before gave.", nameof(cursor));
    }
}
