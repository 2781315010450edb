using System.Diagnostics;
using Scheduler.Locking;

namespace Scheduler.Tests.Leases;

/// <summary>The loss of a lease is told on time though the pool has no thread to give. Runs alone: every test is without a pool.</summary>
[Collection(Name)]
[CollectionDefinition(Name, DisableParallelization = true)]
public sealed class PoolStarvationTests
{
    private const string Name = "Takes the thread pool from every test";
    private static readonly TimeSpan Short = TimeSpan.FromMilliseconds(200);

    [Fact]
    public async Task Lost_fires_by_the_deadline_while_the_pool_is_starved()
    {
        await using var f = new LeaseFixture(TimeProvider.System);
        var lease = await f.TakeAsync(duration: Short);
        f.Store.OnRenew = (_, _, _) => new(new TaskCompletionSource<RenewalReply>().Task);
        // Not disposed of: work items of the pool may look at it after the test.
        var blocker = new ManualResetEventSlim();
        using var fired = new ManualResetEventSlim();
        long firedAt = 0;
        using var registration = lease.Lost.Register(() =>
        {
            firedAt = Stopwatch.GetTimestamp();
            fired.Set();
        });
        for (var i = 0; i < 200; i++)
        {
            ThreadPool.UnsafeQueueUserWorkItem(_ => blocker.Wait(), null);
        }
        // Waits on the test's own thread: the pool has none to give.
        var onTime = fired.Wait(LeaseFixture.Bound);
        blocker.Set();
        Assert.True(onTime);
        var late = TimeSpan.FromSeconds((firedAt - lease.Deadline) / (double)Stopwatch.Frequency);
        Assert.True(late < TimeSpan.FromMilliseconds(150), $"{late.TotalMilliseconds} ms after the deadline");
    }
}
