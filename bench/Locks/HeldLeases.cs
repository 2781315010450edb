using System.Diagnostics;
using System.Text.Json;
using Scheduler.Bench.Harness;
using Scheduler.Leases;
using Scheduler.Locking;

namespace Scheduler.Bench.Locks;

/// <summary>
/// 10,000 leases held by one process: its CPU time, the memory that stays in use for each, and how many were lost. The floor keeps the
/// keys in a list and renews them in scripts or transactions of 250.
/// </summary>
internal static class HeldLeases
{
    public const string ChildCommand = "hold-many";
    private const int Count = 10_000;
    private const int RenewalBatch = 250;
    private static readonly TimeSpan Lease = TimeSpan.FromSeconds(10);

    internal sealed record Held(double CpuPerSecond, double BytesPerLease, int Lost);

    public static Task MeasureAsync(Plan plan, Report report, LockStore store, string address, Section section)
    {
        var group = 0;
        return section.CompareAsync(plan.Rounds, () => RoundAsync(ours: true), () => RoundAsync(ours: false));

        async Task<IReadOnlyList<Reading>> RoundAsync(bool ours)
        {
            await using var child = Child.Start(ChildCommand, store.Name, address, $"held-{group++}", ours, plan.Quick ? 3.5 : 30);
            var held = await child.ResultAsync<Held>();
            if (held.Lost > 0)
            {
                report.Problem($"{store.Name}: {held.Lost} of {Count} leases were lost while they were held.");
            }
            List<Reading> readings =
            [
                new("CPU of the process", "s/s", held.CpuPerSecond),
                new("retained for a lease", "bytes", held.BytesPerLease),
            ];
            return ours ? [.. readings, new("lost", "leases", held.Lost)] : readings;
        }
    }

    /// <summary>The child process: one line with what it found.</summary>
    public static async Task RunChildAsync(string storeName, string address, string group, bool ours, double seconds)
    {
        var store = LockStores.Named(storeName);
        var found = ours
            ? await OursAsync(store, address, group, TimeSpan.FromSeconds(seconds))
            : await FloorAsync(store, address, group, TimeSpan.FromSeconds(seconds));
        Console.WriteLine(JsonSerializer.Serialize(found));
    }

    private static async Task<Held> OursAsync(LockStore store, string address, string group, TimeSpan time)
    {
        await using var provider = await Replica.OpenAsync(store, address, group, Lease);
        var keys = Enumerable.Range(0, Count).Select(i => LockKey.From($"key-{i}")).ToArray();
        var leases = new Lease[Count];
        // The first use makes what all later ones share.
        await (await provider.TryAcquireAsync(LockKey.From("first"), "bench")).Granted().ReleaseAsync();
        var before = GC.GetTotalMemory(forceFullCollection: true);
        await Parallel.ForAsync(
            0,
            Count,
            new ParallelOptions { MaxDegreeOfParallelism = 64 },
            async (i, _) => leases[i] = (await provider.TryAcquireAsync(keys[i], "bench")).Granted()
        );
        var after = GC.GetTotalMemory(forceFullCollection: true);
        var cpu = await CpuDuringAsync(time);
        return new Held(cpu, (after - before) / (double)Count, leases.Count(l => !l.IsHeld));
    }

    private static async Task<Held> FloorAsync(LockStore store, string address, string group, TimeSpan time)
    {
        await using var raw = store.OpenFloor(address);
        var before = GC.GetTotalMemory(forceFullCollection: true);
        var keys = Enumerable.Range(0, Count).Select(i => $"{group}-{i}").ToArray();
        await Parallel.ForAsync(
            0,
            Count,
            new ParallelOptions { MaxDegreeOfParallelism = 64 },
            async (i, _) => await raw.TakeAsync(keys[i], group, Lease)
        );
        var after = GC.GetTotalMemory(forceFullCollection: true);
        using var ended = new CancellationTokenSource();
        var renewals = RenewAsync();
        var cpu = await CpuDuringAsync(time);
        await ended.CancelAsync();
        await renewals;
        return new Held(cpu, (after - before) / (double)Count, 0);

        async Task RenewAsync()
        {
            while (!ended.IsCancellationRequested)
            {
                await Task.Delay(Lease / 3, TimeProvider.System, ended.Token).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
                foreach (var batch in keys.Chunk(RenewalBatch))
                {
                    await raw.RenewAsync(batch, group, Lease);
                }
            }
        }
    }

    private static async Task<double> CpuDuringAsync(TimeSpan time)
    {
        var (cpu, start) = (Environment.CpuUsage.TotalTime, Stopwatch.GetTimestamp());
        await Task.Delay(time, TimeProvider.System);
        return (Environment.CpuUsage.TotalTime - cpu) / Stopwatch.GetElapsedTime(start);
    }
}
