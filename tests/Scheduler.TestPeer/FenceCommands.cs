using System.Data.Common;
using System.Globalization;
using System.Net.Sockets;
using Scheduler.Locking;
using StackExchange.Redis;

namespace Scheduler.TestPeer;

/// <summary>A holder that can be stopped between its look and its payment.</summary>
internal static class FenceCommands
{
    /// <summary>Looks whether it is paid, says so, waits for a line, pays, and says what became of it.</summary>
    /// <param name="kind">See <see cref="Payouts.Open"/>.</param>
    /// <param name="place">See <see cref="Payouts.Open"/>.</param>
    /// <param name="token">The holder's token.</param>
    /// <param name="where"><c>before</c> or <c>within</c> the fenced transaction it looks and waits.</param>
    public static async Task<int> PayAsync(string kind, string place, string token, string where)
    {
        var isWithin = where == "within";
        // PostgreSQL ends a transaction that stands still for as long as this limit.
        await using var payouts = Payouts.Open(kind, place, isWithin ? TimeSpan.FromSeconds(3) : null);
        if (isWithin)
        {
            // What takes long the first time is not to count.
            await payouts.PaidAsync();
        }
        else
        {
            await LookAsync(payouts);
        }
        try
        {
            var own = long.Parse(token, CultureInfo.InvariantCulture);
            Console.WriteLine($"paid {await payouts.PayAsync(own, between: isWithin ? () => LookAsync(payouts) : null)}");
        }
        catch (StaleLeaseException stale)
        {
            Console.WriteLine($"stale {stale.Resource} {stale.Key} {stale.Token} {stale.Newest}");
        }
        catch (Exception failure) when (failure is DbException or RedisException or TimeoutException or SocketException)
        {
            Console.WriteLine($"failed {failure.GetType().Name}");
        }
        return 0;
    }

    private static async Task LookAsync(Payouts payouts)
    {
        Console.WriteLine($"saw {(await payouts.PaidAsync()).Count}");
        await Console.In.ReadLineAsync();
    }
}
