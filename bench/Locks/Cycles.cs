using System.Globalization;
using Scheduler.Bench.Floors;
using Scheduler.Bench.Harness;
using Scheduler.Locking;

namespace Scheduler.Bench.Locks;

/// <summary>Acquire and release of keys that nobody else wants, through the public provider with its watchdog.</summary>
internal static class Cycles
{
    private static readonly TimeSpan Lease = TimeSpan.FromSeconds(10);

    /// <summary>How many workers, one measurement after another.</summary>
    public static readonly int[] AtOnce = [1, 64, 256];

    public static async Task MeasureAsync(
        Plan plan,
        LockStore store,
        string address,
        Func<string, IRawLock> openFloor,
        int[] atOnce,
        Section section
    )
    {
        await using var provider = await Replica.OpenAsync(store, address, "cycles");
        await using var raw = openFloor(address);
        var keys = Enumerable.Range(0, atOnce[^1]).Select(i => LockKey.From($"key-{i}")).ToArray();
        var names = Enumerable.Range(0, atOnce[^1]).Select(i => string.Create(CultureInfo.InvariantCulture, $"raw-{i}")).ToArray();
        await ClosedLoop.CompileAsync(plan.Compile, atOnce[^1], OursAsync, FloorAsync);
        foreach (var workers in atOnce)
        {
            await section.CompareAsync(
                plan.Rounds,
                () => ClosedLoop.RunAsync(workers, plan.WarmUp, plan.Counted, OursAsync),
                () => ClosedLoop.RunAsync(workers, plan.WarmUp, plan.Counted, FloorAsync)
            );
        }

        async ValueTask OursAsync(int worker)
        {
            var lease = (await provider.TryAcquireAsync(keys[worker], "bench")).Granted();
            if (!await lease.ReleaseAsync())
            {
                throw new InvalidOperationException($"{store.Name} did not confirm the release of {keys[worker]}.");
            }
        }

        async ValueTask FloorAsync(int worker)
        {
            if (!await raw.TakeAsync(names[worker], "owner", Lease) || !await raw.FreeAsync(names[worker], "owner"))
            {
                throw new InvalidOperationException($"The floor of {store.Name} did not take or free {names[worker]}.");
            }
        }
    }
}
