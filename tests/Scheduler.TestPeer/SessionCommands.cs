using System.Globalization;
using Microsoft.Extensions.Logging.Abstractions;
using Scheduler.Hosting;
using Scheduler.Locking;
using Scheduler.Postgres.SessionLeases;
using Scheduler.Time;

namespace Scheduler.TestPeer;

/// <summary>Commands that use the session locks of PostgreSQL as a replica of its own.</summary>
internal static class SessionCommands
{
    /// <summary>Leases that are never longer than so many seconds.</summary>
    public static LeaseOptions LongestLease(string seconds)
    {
        var longest = TimeSpan.FromSeconds(double.Parse(seconds, CultureInfo.InvariantCulture));
        return new LeaseOptions { LeaseDuration = longest, LongestLease = longest };
    }

    /// <summary>Takes keys for some seconds each, says so, and keeps them without renewing until it is killed or its input ends.</summary>
    /// <param name="connectionString">Where the server is.</param>
    /// <param name="group">The group.</param>
    /// <param name="leases">For each key itself, <c>=</c>, and seconds; separated by commas.</param>
    /// <param name="options">The times of leases.</param>
    public static async Task<int> HoldAsync(string connectionString, string group, string leases, LeaseOptions options)
    {
        var replica = ReplicaIdentity.Create("peer");
        var context = new BackendContext(group, replica, options, BootTimeProvider.Instance, NullLoggerFactory.Instance);
        await using var store = new PostgresSessionLeaseStore(context, connectionString);
        await store.CheckAsync(LockStoreUse.Unknown, CancellationToken.None);
        var acquisitions = 0L;
        foreach (var lease in leases.Split(','))
        {
            var (key, seconds) = (lease.Split('=')[0], double.Parse(lease.Split('=')[1], CultureInfo.InvariantCulture));
            var request = new AcquireRequest(
                LockKey.From(key),
                new LeaseOwner(replica.Id, ++acquisitions),
                "hold",
                TimeSpan.FromSeconds(seconds)
            );
            if (await store.AcquireAsync(request, CancellationToken.None) is not AcquireResult.Granted)
            {
                return 1;
            }
        }
        Console.WriteLine($"held by {replica.Id}");
        await Console.In.ReadLineAsync();
        return 0;
    }
}
