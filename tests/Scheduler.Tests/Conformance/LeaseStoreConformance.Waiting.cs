using System.Collections.Concurrent;
using Scheduler.Leases;
using Scheduler.Locking;
using Scheduler.Testing;

namespace Scheduler.Tests.Conformance;

// Rule 8: waiting.
public abstract partial class LeaseStoreConformance<TFixture>
{
    [Fact]
    public async Task Rule_08_a_wait_is_woken_by_a_pushed_release()
    {
        var (first, second) = await StartTwoReplicasAsync();
        Assert.SkipUnless(first.Locks.Traits.PushesReleases, "This store pushes nothing.");
        var woken = 0;
        // A push may be lost, not every push.
        for (var round = 0; round < 5 && woken == 0; round++)
        {
            var lease = await first.AcquireWhenFreeAsync(Key, Long, Bound);
            // On a clock that stands still no poll comes due.
            second.Time.Freeze();
            var waiting = second.Locks.AcquireAsync(Key, "next", TimeSpan.FromMinutes(1), Long, Stop).AsTask();
            await AskedAsync(second);

            await lease.ReleaseAsync(Stop);

            woken += await Task.WhenAny(waiting, Eventually.Holds(() => waiting.IsCompleted, Fixture.Slack)) == waiting ? 1 : 0;
            second.Time.Run();
            var next = Assert.IsType<LockAttempt.Granted>(await waiting.WaitAsync(Bound, Stop));
            await next.Lease.ReleaseAsync(Stop);
        }
        Assert.NotEqual(0, woken);
    }

    [Fact]
    public async Task Rule_08_a_wait_outlasts_a_holder_that_died_silently()
    {
        var (first, second) = await StartTwoReplicasAsync();
        await first.AcquireAsync(Key, TimeSpan.FromMilliseconds(500));
        first.Way.GoSilent(commandsArrive: false);

        var waiting = second.Locks.AcquireAsync(Key, "next", TimeSpan.FromMinutes(1), Long, Stop).AsTask();

        var bound = TimeSpan.FromMilliseconds(500) + second.Locks.Traits.PollInterval + Fixture.Slack;
        Assert.IsType<LockAttempt.Granted>(await waiting.WaitAsync(bound, Stop));
    }

    [Fact]
    public async Task Rule_08_a_bounded_wait_ends_with_held()
    {
        var (first, second) = await StartTwoReplicasAsync();
        await first.AcquireAsync(Key, Long, "nightly");
        var since = TimeProvider.System.GetTimestamp();

        var answer = await second.Locks.AcquireAsync(Key, "next", 2 * Short, Long, Stop).AsTask().WaitAsync(Bound, Stop);

        var held = Assert.IsType<LockAttempt.Held>(answer);
        Assert.Equal((first.Identity.Id, "nightly"), (held.Holder, held.Purpose));
        Assert.True(TimeProvider.System.GetElapsedTime(since) >= 2 * Short - TimeSpan.FromMilliseconds(20), "the wait was cut short");
        Assert.IsType<LockAttempt.Held>(await second.Locks.AcquireAsync(Key, "next", TimeSpan.Zero, Long, Stop));
    }

    [Fact]
    public async Task Rule_08_a_cancelled_wait_takes_nothing()
    {
        var (first, second) = await StartTwoReplicasAsync();
        var lease = await first.AcquireAsync(Key, Long);
        using var cancel = new CancellationTokenSource();
        var waiting = second.Locks.AcquireAsync(Key, "next", TimeSpan.FromMinutes(1), Long, cancel.Token).AsTask();
        await Eventually.Holds(() => second.Way.Acquires > 0, Bound);

        await cancel.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => waiting.WaitAsync(Bound, Stop));
        await lease.ReleaseAsync(Stop);

        await first.AcquireWhenFreeAsync(Key, Long, Bound);
    }

    [Fact]
    public async Task Rule_08_local_waiters_share_one_remote_wait()
    {
        const int waiters = 20;
        var (first, second) = await StartTwoReplicasAsync();
        await first.AcquireAsync(Key, Long);
        var wait = TimeSpan.FromSeconds(2);

        var answers = await Task.WhenAll(
            Enumerable.Range(0, waiters).Select(_ => second.Locks.AcquireAsync(Key, "next", wait, Long, Stop).AsTask())
        );

        Assert.All(answers, a => Assert.IsType<LockAttempt.Held>(a));
        var polls = wait / second.Locks.Traits.PollInterval;
        Assert.InRange(second.Way.Acquires, 1, waiters + 5 + (2 * polls));
    }

    [Fact]
    public async Task Rule_08_a_holder_that_asks_again_at_once_does_not_starve_the_others()
    {
        var (first, second) = await StartTwoReplicasAsync();
        var lease = await first.AcquireAsync(Key, Long);
        using var enough = CancellationTokenSource.CreateLinkedTokenSource(Stop);
        var waiting = second.Locks.AcquireAsync(Key, "next", TimeSpan.FromMinutes(1), Long, Stop).AsTask();
        await Eventually.Holds(() => second.Way.Acquires > 0, Bound);
        var greedy = Task.Run(
            async () =>
            {
                await lease.ReleaseAsync(Stop);
                while (!enough.IsCancellationRequested)
                {
                    if (await first.Locks.AcquireAsync(Key, "greedy", Short, Long, Stop) is LockAttempt.Granted again)
                    {
                        await Task.Yield();
                        await again.Lease.ReleaseAsync(Stop);
                    }
                }
            },
            Stop
        );

        try
        {
            Assert.IsType<LockAttempt.Granted>(await waiting.WaitAsync(Bound, Stop));
        }
        finally
        {
            await enough.CancelAsync();
            await greedy.WaitAsync(Bound, Stop);
        }
    }

    [Fact]
    public async Task Rule_08_replicas_get_the_key_in_the_order_of_asking()
    {
        var holder = await StartReplicaAsync();
        Assert.SkipUnless(holder.Locks.Traits.Fifo, "This store grants to whoever asks first when the key is free.");
        var lease = await holder.AcquireAsync(Key, Long);
        var waiting = new List<Task<LockAttempt>>();
        for (var i = 0; i < 4; i++)
        {
            var replica = await StartReplicaAsync();
            waiting.Add(replica.Locks.AcquireAsync(Key, "next", TimeSpan.FromMinutes(1), Long, Stop).AsTask());
            await AskedAsync(replica);
        }

        for (var turn = 0; turn < waiting.Count; turn++)
        {
            await lease.ReleaseAsync(Stop);
            // Those who only try come behind all who wait.
            Assert.IsType<LockAttempt.Held>(await holder.Locks.TryAcquireAsync(Key, "greedy", Long, Stop));
            var first = await Task.WhenAny(waiting).WaitAsync(Bound, Stop);
            Assert.Equal(turn, waiting.IndexOf(first));
            lease = Assert.IsType<LockAttempt.Granted>(await first).Lease;
            waiting[turn] = new TaskCompletionSource<LockAttempt>(TaskCreationOptions.RunContinuationsAsynchronously).Task;
        }
    }

    [Fact]
    public async Task Rule_08_watchers_hear_of_releases()
    {
        var (first, second) = await StartTwoReplicasAsync();
        var (here, there) = (new ConcurrentQueue<LockKey>(), new ConcurrentQueue<LockKey>());
        using var local = first.Locks.Watch(here.Enqueue);
        using var remote = second.Locks.Watch(there.Enqueue);

        // The subscription of the other replica may be under way still.
        await Eventually.Holds(
            async () =>
            {
                await (await first.AcquireWhenFreeAsync(Key, Long, Bound)).ReleaseAsync(Stop);
                return here.Contains(Key) && (there.Contains(Key) || !second.Locks.Traits.PushesReleases);
            },
            Bound,
            "the release is heard"
        );
    }

    /// <summary>Waits until a replica has asked and then been silent for a while: it sleeps now, and nothing is under way.</summary>
    private static async Task AskedAsync(TestReplica replica)
    {
        var (asked, since) = (0, TimeProvider.System.GetTimestamp());
        await Eventually.Holds(
            () =>
            {
                if (replica.Way.Acquires != asked)
                {
                    (asked, since) = (replica.Way.Acquires, TimeProvider.System.GetTimestamp());
                }
                return asked > 0 && TimeProvider.System.GetElapsedTime(since) > Short;
            },
            Bound,
            "the replica has asked and waits"
        );
    }
}
