using System.Diagnostics;
using Scheduler.Bench.Harness;
using Scheduler.Locking;

namespace Scheduler.Bench.Locks;

/// <summary>
/// How long after <c>kill -9</c> of the holder's process another process that waits has the key. Each child holds one lease of ours and
/// one hand-written lock, so that both die in the same instant; several children at once, each killed after a time of its own.
/// </summary>
internal static class TakeOver
{
    public const string ChildCommand = "hold-one";
    private const int AtOnce = 5;
    private static readonly TimeSpan LongestWait = TimeSpan.FromSeconds(30);
    private static readonly TimeSpan Poll = TimeSpan.FromMilliseconds(10);

    /// <summary>The lease of what is killed.</summary>
    public static TimeSpan Lease { get; } = TimeSpan.FromSeconds(5);

    public static async Task MeasureAsync(Plan plan, LockStore store, string address, Section section)
    {
        await using var provider = await Replica.OpenAsync(store, address, "take-over", Lease);
        await using var raw = store.OpenFloor(address);
        var (ours, floor) = (new List<double>(), new List<double>());
        var kills = plan.Quick ? 5 : 20;
        for (var first = 0; first < kills; first += AtOnce)
        {
            var found = await Task.WhenAll(Enumerable.Range(first, AtOnce).Select(KillOneAsync));
            ours.AddRange(found.Select(f => f.Ours.TotalSeconds));
            floor.AddRange(found.Select(f => f.Floor.TotalSeconds));
        }
        section.AddOurs(Readings(ours));
        section.AddFloor(Readings(floor));

        async Task<(TimeSpan Ours, TimeSpan Floor)> KillOneAsync(int number)
        {
            await using var child = Child.Start(ChildCommand, store.Name, address, $"holder-{number}", Lease.TotalSeconds);
            await child.ExpectAsync("held");
            // Kills fall on every part of a renewal interval, not always on the same one.
            await Task.Delay(Lease / 3 * ((number % AtOnce + 1) / (double)AtOnce), TimeProvider.System);
            var key = LockKey.From($"holder-{number}");
            var waiting = provider.AcquireAsync(key, "bench", LongestWait).AsTask();
            if (waiting.IsCompleted)
            {
                throw new InvalidOperationException($"The key of {key} was free while its holder lived.");
            }
            await child.KillAsync();
            var killed = Stopwatch.GetTimestamp();
            var floorTakes = RawAsync(number, killed);
            var lease = (await waiting).Granted();
            var taken = Stopwatch.GetElapsedTime(killed);
            await lease.ReleaseAsync();
            return (taken, await floorTakes);
        }

        async Task<TimeSpan> RawAsync(int number, long killed)
        {
            while (!await raw.TakeForLifeAsync(RawKey($"holder-{number}"), Lease))
            {
                await Task.Delay(Poll, TimeProvider.System);
            }
            return Stopwatch.GetElapsedTime(killed);
        }
    }

    /// <summary>The child process: takes both and waits for its end.</summary>
    public static async Task RunChildAsync(string storeName, string address, string key, double leaseSeconds)
    {
        var store = LockStores.Named(storeName);
        var duration = TimeSpan.FromSeconds(leaseSeconds);
        await using var provider = await Replica.OpenAsync(store, address, "take-over", duration);
        await using var raw = store.OpenFloor(address);
        await using var lease = (await provider.TryAcquireAsync(LockKey.From(key), "bench")).Granted();
        if (!await raw.TakeForLifeAsync(RawKey(key), duration))
        {
            throw new InvalidOperationException($"The hand-written lock of {key} is not free.");
        }
        Console.WriteLine("held");
        await Child.HearAsync();
    }

    private static string RawKey(string key) => $"raw-{key}";

    private static List<Reading> Readings(List<double> seconds)
    {
        seconds.Sort();
        return [new("after kill -9: p50", "s", Samples.Percentile(seconds, 0.5)), new("after kill -9: worst", "s", seconds[^1])];
    }
}
