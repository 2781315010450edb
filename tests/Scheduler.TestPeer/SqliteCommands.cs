using System.Diagnostics;
using System.Globalization;
using Microsoft.Extensions.Logging.Abstractions;
using Scheduler.Hosting;
using Scheduler.Locking;
using Scheduler.Sqlite.Leases;
using Scheduler.Time;

namespace Scheduler.TestPeer;

/// <summary>Commands that use the SQLite locks as a replica of its own.</summary>
internal static class SqliteCommands
{
    private static readonly TimeSpan Lease = TimeSpan.FromSeconds(30);

    public static int Usage()
    {
        Console.Error.WriteLine(
            "sqlite-hold[-with-child] <file> <group> <key> | sqlite-stress <file> <group> <writers> <cycles> | state-write <file> <group> "
                + "| state-stress <file or connection string> <group> <name> <callers> <cycles> "
                + "| session-hold <connection string> <group> <key>=<seconds>,… [<seconds of the longest lease>] "
                + "| effect <file or connection string> <kind> <calls> <die at> "
                + "| pay <kind> <file or connection string> <token> <before or within>"
        );
        return 2;
    }

    /// <summary>Takes a key for 30 s, says so, and keeps it until it is killed or its input ends.</summary>
    public static async Task<int> HoldAsync(string file, string group, string key, bool withChild)
    {
        var replica = ReplicaIdentity.Create("peer");
        await using var store = Connect(file, group, replica);
        await store.CheckAsync(LockStoreUse.Unknown, CancellationToken.None);
        var request = new AcquireRequest(LockKey.From(key), new LeaseOwner(replica.Id, 1), "hold", Lease);
        if (await store.AcquireAsync(request, CancellationToken.None) is not AcquireResult.Granted granted)
        {
            return 1;
        }
        using var child = withChild
            ? Process.Start(
                new ProcessStartInfo("sleep", "60")
                {
                    UseShellExecute = false,
                    RedirectStandardInput = true,
                    RedirectStandardOutput = true,
                }
            )
            : null;
        Console.WriteLine($"held {granted.Number} child {child?.Id ?? 0}");
        await Console.In.ReadLineAsync();
        return 0;
    }

    /// <summary>Each writer takes and releases a key of its own and one that all share, so many times.</summary>
    public static async Task<int> StressAsync(string file, string group, string writers, string cycles)
    {
        var replica = ReplicaIdentity.Create("peer");
        await using var store = Connect(file, group, replica);
        await store.CheckAsync(LockStoreUse.Unknown, CancellationToken.None);
        Console.WriteLine("ready");
        await Console.In.ReadLineAsync();
        var count = int.Parse(cycles, CultureInfo.InvariantCulture);
        var acquisitions = 0L;
        var start = TimeProvider.System.GetTimestamp();
        var results = await Task.WhenAll(
            Enumerable.Range(0, int.Parse(writers, CultureInfo.InvariantCulture)).Select(w => Task.Run(() => WriteAsync(w)))
        );
        var elapsed = TimeProvider.System.GetElapsedTime(start);
        Console.WriteLine(
            string.Create(
                CultureInfo.InvariantCulture,
                $"finished {results.Length} errors {results.Sum(r => r.Errors)} granted {results.Sum(r => r.Granted)} "
                    + $"longest {results.Max(r => r.Longest).TotalMilliseconds:0.0} ms cycles/s "
                    + $"{results.Length * count / elapsed.TotalSeconds:0}"
            )
        );
        return 0;

        async Task<(int Errors, int Granted, TimeSpan Longest)> WriteAsync(int writer)
        {
            var (errors, grants, longest) = (0, 0, TimeSpan.Zero);
            for (var i = 0; i < count; i++)
            {
                // Every eighth cycle asks for what the other process wants too.
                var key = LockKey.From(i % 8 == 0 ? "shared" : $"own:{replica.Id}:{writer}");
                var owner = new LeaseOwner(replica.Id, Interlocked.Increment(ref acquisitions));
                var before = TimeProvider.System.GetTimestamp();
                switch (await store.AcquireAsync(new AcquireRequest(key, owner, "stress", Lease), CancellationToken.None))
                {
                    case AcquireResult.Granted:
                        grants++;
                        errors += (await store.ReleaseAsync(key, owner, CancellationToken.None)).Released ? 0 : 1;
                        break;
                    case AcquireResult.Unavailable problem:
                        Console.Error.WriteLine(problem.Reason);
                        errors++;
                        break;
                    default:
                        break;
                }
                var took = TimeProvider.System.GetElapsedTime(before);
                longest = took > longest ? took : longest;
            }
            return (errors, grants, longest);
        }
    }

    private static SqliteLeaseStore Connect(string file, string group, ReplicaIdentity replica) =>
        new(
            new BackendContext(group, replica, new LeaseOptions(), BootTimeProvider.Instance, NullLoggerFactory.Instance),
            $"Data Source={file}"
        );
}
