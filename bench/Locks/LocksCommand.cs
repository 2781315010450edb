using Scheduler.Bench.Harness;

namespace Scheduler.Bench.Locks;

/// <summary>The command <c>locks</c>: four tables for each store.</summary>
internal static class LocksCommand
{
    public static async Task RunAsync(Plan plan, Report report)
    {
        foreach (var store in plan.Stores.Select(LockStores.Named))
        {
            await using var place = await store.StartAsync(report);

            var cycles = new Section($"{store.Name}: acquire and release, no contention", store.Floor, store.Goals);
            await Cycles.MeasureAsync(plan, store, place.Address, store.OpenFloor, Cycles.AtOnce, cycles);
            report.Add(cycles);

            if (store.Other is { } other)
            {
                var beside = new Section($"{store.Name}: acquire and release beside a second floor", other.Name, other.Goals);
                await Cycles.MeasureAsync(plan, store, place.Address, other.Open, [64], beside);
                report.Add(beside);
            }

            var held = new Section($"{store.Name}: 10,000 leases held", $"{store.Floor}, renewed 250 at once", store.Goals);
            await HeldLeases.MeasureAsync(plan, report, store, place.Address, held);
            report.Add(held);

            if (store.OpenHandOff is null)
            {
                Report.Say($"{store.Name}: no hand-off and no take-over between processes, they do not share it");
                continue;
            }
            var handOff = new Section($"{store.Name}: hand-off, 2 processes × 8 tasks", store.HandOffFloor, store.Goals);
            await HandOff.MeasureAsync(plan, report, store, place.Address, handOff);
            report.Add(handOff);

            var takeOver = new Section($"{store.Name}: take-over, lease {TakeOver.Lease.TotalSeconds} s", store.TakeOverFloor, store.Goals);
            await TakeOver.MeasureAsync(plan, store, place.Address, takeOver);
            report.Add(takeOver);
        }
    }
}
