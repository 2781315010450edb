using System.Diagnostics;
using Scheduler.Leases;
using Scheduler.Locking;
using Scheduler.Testing;
using static Scheduler.Tests.Leases.LeaseFixture;

namespace Scheduler.Tests.Leases;

/// <summary>Rule 4, on real time: one watchdog for all, which neither the pool, nor callbacks, nor the store can hold up.</summary>
public sealed class WatchdogTests
{
    private static readonly TimeSpan Short = TimeSpan.FromMilliseconds(200);

    [Fact]
    public async Task Callback_that_blocks_or_throws_delays_no_other_and_loses_no_other_lease()
    {
        await using var f = new LeaseFixture(TimeProvider.System);
        using var blocker = new ManualResetEventSlim();
        var blocked = await f.TakeAsync(LockKey.From("blocked"), Short);
        var throwing = await f.TakeAsync(LockKey.From("throwing"), Short);
        var third = await f.TakeAsync(LockKey.From("third"), Short);
        var kept = await f.TakeAsync(LockKey.From("kept"), Short);
        using var r1 = blocked.Lost.Register(() => blocker.Wait(Bound));
        using var r2 = throwing.Lost.Register(() => throw new InvalidOperationException("callback"));
        var told = new TaskCompletionSource();
        using var r3 = third.Lost.Register(told.SetResult);
        f.Store.Forget(blocked.Key);
        f.Store.Forget(throwing.Key);
        await Eventually.Holds(() => blocked.LossReason == LossReason.StoreLost && f.Log.Count(1004) == 1);
        var renewals = f.Store.Renewals;
        f.Store.Forget(third.Key);
        await told.Task.WaitAsync(Bound);
        await Eventually.Holds(() => f.Store.Renewals > renewals + 6);
        Assert.True(kept.IsHeld);
        blocker.Set();
        await kept.DisposeAsync();
    }

    [Fact]
    public async Task Store_that_blocks_its_caller_does_not_hold_up_the_loss()
    {
        await using var f = new LeaseFixture(TimeProvider.System);
        using var blocker = new ManualResetEventSlim();
        var lease = await f.TakeAsync(duration: Short);
        var told = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        using var registration = lease.Lost.Register(told.SetResult);
        f.Store.OnRenew = (_, answer, _) =>
        {
            blocker.Wait(Bound, CancellationToken.None);
            return new(answer());
        };
        await told.Task.WaitAsync(TimeSpan.FromSeconds(5));
        blocker.Set();
        Assert.Equal(LossReason.DeadlinePassed, lease.LossReason);
    }

    [Fact]
    public async Task Batches_are_bounded_and_several_are_under_way_at_once()
    {
        await using var f = new LeaseFixture();
        f.Store.Traits = f.Store.Traits with { MaxRenewalBatch = 10 };
        await using var provider = f.NewProvider("b");
        var leases = new List<Lease>();
        for (var i = 0; i < 95; i++)
        {
            leases.Add(await f.TakeAsync(LockKey.From($"k{i}"), provider: provider));
        }
        var go = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        f.Store.OnRenew = async (_, answer, _) =>
        {
            await go.Task;
            return answer();
        };
        f.Fake.Advance(TimeSpan.FromSeconds(3.4));
        await Eventually.Holds(() => f.Store.Renewals == 8);
        var deadline = leases[0].Deadline;
        go.SetResult();
        await Eventually.Holds(() => f.Store.Renewals == 10 && leases.TrueForAll(l => l.Deadline > deadline));
        Assert.Equal(10, f.Store.LargestBatch);
        GC.KeepAlive(leases);
    }

    [Fact]
    public async Task Ten_thousand_leases_are_kept()
    {
        const int Count = 10_000;
        await using var f = new LeaseFixture(TimeProvider.System, o => o.LeaseDuration = TimeSpan.FromSeconds(3));
        var keys = Enumerable.Range(0, Count).Select(i => LockKey.From($"job:{i:00000}")).ToList();
        await (await f.TakeAsync()).DisposeAsync();
        var leases = new List<Lease>(Count);
        foreach (var key in keys)
        {
            leases.Add(await f.TakeAsync(key));
        }
        await using var counting = new LeaseFixture(TimeProvider.System);
        var before = Process.GetCurrentProcess().TotalProcessorTime;
        var watch = Stopwatch.StartNew();
        await Eventually.Holds(() => watch.Elapsed > TimeSpan.FromSeconds(5));
        var cpu = (Process.GetCurrentProcess().TotalProcessorTime - before) / watch.Elapsed;
        Assert.Equal(0, leases.Count(l => !l.IsHeld));
        TestContext.Current.TestOutputHelper?.WriteLine($"{cpu:P1} of a core for {Count} leases of 3 s, {f.Store.Renewals} calls");
        var bytes = BytesPerLease(f.Provider.Runtime, keys);
        TestContext.Current.TestOutputHelper?.WriteLine($"{bytes} bytes per lease");
    }

    private static long BytesPerLease(LeaseRuntime runtime, List<LockKey> keys)
    {
        var held = new List<Lease>(keys.Count);
        var before = GC.GetTotalMemory(forceFullCollection: true);
        for (var i = 0; i < keys.Count; i++)
        {
            var request = new AcquireRequest(keys[i], new LeaseOwner(runtime.ReplicaId, i), "measure", TimeSpan.FromSeconds(3));
            var state = new LeaseState(runtime, request, FencingToken.Compose(0, 1), long.MaxValue);
            runtime.Watchdog.Add(state, runtime.Time.GetTimestamp() + (60 * runtime.Time.TimestampFrequency));
            held.Add(new Lease(state));
        }
        var bytes = (GC.GetTotalMemory(forceFullCollection: true) - before) / keys.Count;
        held.ForEach(GC.SuppressFinalize);
        return bytes;
    }
}
