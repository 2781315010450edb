using Scheduler.Leases;
using Scheduler.Locking;
using Scheduler.Testing;
using static Scheduler.Tests.Leases.LeaseFixture;

namespace Scheduler.Tests.Leases;

/// <summary>Rule 8: waiting is woken by releases, shared, first come first served, and fair to other replicas.</summary>
public sealed class WaitingTests
{
    private static readonly TimeSpan Wait = TimeSpan.FromMinutes(5);

    [Fact]
    public async Task Waiters_of_one_key_share_one_remote_wait_and_are_served_in_order()
    {
        await using var f = new LeaseFixture();
        // Without a subscription, which asks once more when it stands.
        f.Store.Traits = f.Store.Traits with
        {
            PushesReleases = false,
            PollInterval = TimeSpan.FromMinutes(1),
        };
        await using var provider = f.NewProvider("b");
        var lease = await f.TakeAsync(provider: provider);
        var before = f.Store.Acquires;
        var waiters = Enumerable.Range(0, 20).Select(i => provider.AcquireAsync(Key, $"w{i}", Wait).AsTask()).ToList();
        Assert.Equal(before + 1, f.Store.Acquires);
        // Somebody who asks once does not overtake, and costs the store nothing.
        Assert.IsType<LockAttempt.Held>(await provider.TryAcquireAsync(Key, "once"));
        Assert.Equal(before + 1, f.Store.Acquires);
        foreach (var waiter in waiters)
        {
            Assert.False(waiter.IsCompleted);
            await lease.ReleaseAsync();
            lease = Assert.IsType<LockAttempt.Granted>(await waiter.WaitAsync(Bound)).Lease;
        }
        await lease.ReleaseAsync();
        Assert.True(f.Store.Acquires - before <= 70, $"{f.Store.Acquires - before} questions for 20 grants");
    }

    [Fact]
    public async Task A_thousand_waiters_on_one_key_all_get_it_once()
    {
        await using var f = new LeaseFixture(TimeProvider.System);
        var inside = 0;
        var done = 0;
        var work = Enumerable
            .Range(0, 1_000)
            .Select(async i =>
            {
                var attempt = await f.Provider.AcquireAsync(Key, $"w{i}", Wait);
                await using var lease = Assert.IsType<LockAttempt.Granted>(attempt).Lease;
                Assert.Equal(1, Interlocked.Increment(ref inside));
                done++;
                Interlocked.Decrement(ref inside);
            });
        await Task.WhenAll(work).WaitAsync(TimeSpan.FromSeconds(60));
        Assert.Equal(1_000, done);
        Assert.True(f.Store.Acquires < 5_000, $"{f.Store.Acquires} questions");
    }

    [Fact]
    public async Task Wait_that_runs_out_says_held_and_a_cancelled_one_throws()
    {
        await using var f = new LeaseFixture();
        await f.Provider.StartAsync(CancellationToken.None);
        f.Store.GrantToOther(Key, TimeSpan.FromMinutes(1));
        var waiting = f.Provider.AcquireAsync(Key, "w", TimeSpan.FromSeconds(2)).AsTask();
        await f.AdvanceUntil(() => waiting.IsCompleted, TimeSpan.FromSeconds(3));
        Assert.Equal("other", Assert.IsType<LockAttempt.Held>(await waiting).Holder);
        using var cancel = new CancellationTokenSource();
        var cancelled = f.Provider.AcquireAsync(Key, "w", Wait, cancellationToken: cancel.Token).AsTask();
        await cancel.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => cancelled.WaitAsync(Bound));
    }

    [Fact]
    public async Task A_push_wakes_at_once_and_a_lost_push_costs_one_poll()
    {
        await using var f = new LeaseFixture();
        f.Store.GrantToOther(Key, TimeSpan.FromMinutes(1));
        var pushed = f.Provider.AcquireAsync(Key, "w", Wait).AsTask();
        await Eventually.Holds(() => f.Store.Subscriptions == 1);
        f.Store.Forget(Key);
        f.Store.Push(Key);
        await Assert.IsType<LockAttempt.Granted>(await pushed.WaitAsync(Bound)).Lease.DisposeAsync();
        f.Store.GrantToOther(Key, TimeSpan.FromMinutes(1));
        var polled = f.Provider.AcquireAsync(Key, "w", Wait).AsTask();
        var asked = f.Store.Acquires;
        f.Store.Forget(Key);
        await f.AdvanceUntil(() => polled.IsCompleted, TimeSpan.FromSeconds(1.1));
        Assert.IsType<LockAttempt.Granted>(await polled);
        Assert.InRange(f.Store.Acquires - asked, 1, 2);
    }

    [Fact]
    public async Task Expiry_of_the_holder_wakes_before_the_poll()
    {
        await using var f = new LeaseFixture();
        f.Store.Traits = f.Store.Traits with { PollInterval = TimeSpan.FromMinutes(1) };
        await using var provider = f.NewProvider("b");
        // Its first attempt would do the check on the pool, and give up when the clock is moved before that has begun.
        await provider.StartAsync(CancellationToken.None);
        f.Store.GrantToOther(Key, TimeSpan.FromSeconds(3));
        var waiting = provider.AcquireAsync(Key, "w", Wait).AsTask();
        await f.AdvanceUntil(() => waiting.IsCompleted, TimeSpan.FromSeconds(3.2));
        Assert.IsType<LockAttempt.Granted>(await waiting);
    }

    [Fact]
    public async Task Greedy_releaser_lets_the_replica_that_it_kept_waiting_go_first()
    {
        await using var f = new LeaseFixture(TimeProvider.System);
        // Only a release wakes the one that waits.
        f.Store.Traits = f.Store.Traits with
        {
            PollInterval = TimeSpan.FromMinutes(1),
        };
        await using var other = f.NewProvider("b");
        // As long as it takes: how soon the other one gets a processor is not judged here.
        f.Provider.Runtime.HoldBacks.PauseWithPush = Bound;
        using var watching = f.Provider.Watch(_ => { });
        using var watchingToo = other.Watch(_ => { });
        await Eventually.Holds(() => f.Store.Subscriptions == 2);
        var refused = new SemaphoreSlim(0);
        f.Store.OnAcquire = (_, acquire, _) =>
        {
            var result = acquire();
            if (result is AcquireResult.Held)
            {
                refused.Release();
            }
            return new(result);
        };
        var lease = await f.TakeAsync();
        for (var round = 0; round < 100; round++)
        {
            var waiting = other.AcquireAsync(Key, "patient", Wait).AsTask();
            Assert.True(await refused.WaitAsync(Bound));
            await lease.ReleaseAsync();
            var again = f.Provider.AcquireAsync(Key, "greedy", Wait).AsTask();
            Assert.Same(waiting, await Task.WhenAny(waiting, again).WaitAsync(Bound));
            await Assert.IsType<LockAttempt.Granted>(await waiting).Lease.DisposeAsync();
            lease = Assert.IsType<LockAttempt.Granted>(await again.WaitAsync(Bound)).Lease;
        }
    }

    [Fact]
    public async Task Where_the_store_keeps_the_order_a_releaser_asks_again_at_once()
    {
        await using var f = new LeaseFixture(TimeProvider.System);
        f.Store.Traits = f.Store.Traits with { Fifo = true };
        await using var greedy = f.NewProvider("b");
        greedy.Runtime.HoldBacks.PauseWithPush = TimeSpan.FromMinutes(10);
        using var watching = greedy.Watch(_ => { });
        await Eventually.Holds(() => f.Store.Subscriptions == 1);
        var lease = await f.TakeAsync(provider: greedy);
        Assert.IsType<LockAttempt.Held>(await f.Provider.TryAcquireAsync(Key, "refused"));
        await lease.ReleaseAsync();

        var again = greedy.AcquireAsync(Key, "again", Wait).AsTask();

        await Assert.IsType<LockAttempt.Granted>(await again.WaitAsync(Bound)).Lease.DisposeAsync();
    }

    [Fact]
    public async Task Where_the_store_tells_who_is_next_a_releaser_asks_again_when_it_is_told()
    {
        await using var f = new LeaseFixture();
        f.Store.Traits = f.Store.Traits with { Fifo = true };
        await using var releaser = f.NewProvider("b");
        using var watching = releaser.Watch(_ => { });
        await Eventually.Holds(() => f.Store.Subscriptions == 1);
        f.Store.Pushes = false;
        for (var round = 0; round < 20; round++)
        {
            var lease = await f.TakeAsync(provider: releaser);
            Assert.IsType<LockAttempt.Held>(await f.Provider.TryAcquireAsync(Key, "refused"));
            var before = f.Store.Acquires;
            var waiting = releaser.AcquireAsync(Key, "next", Wait).AsTask();
            await Eventually.Holds(() => f.Store.Acquires == before + 1);

            await lease.ReleaseAsync();
            // A question of its own would be asked meanwhile, in most rounds at least.
            await Eventually.Passes(TimeSpan.FromMilliseconds(3));
            Assert.Equal(before + 1, f.Store.Acquires);

            f.Store.Push(Key);
            await Assert.IsType<LockAttempt.Granted>(await waiting.WaitAsync(Bound)).Lease.DisposeAsync();
        }
    }

    [Fact]
    public async Task A_question_says_whether_others_wait_besides_and_who_comes_meanwhile_gets_a_place_too()
    {
        await using var f = new LeaseFixture();
        f.Store.Traits = f.Store.Traits with { Fifo = true };
        await using var provider = f.NewProvider("b");
        // A subscription asks once more when it stands.
        using var watching = provider.Watch(_ => { });
        await Eventually.Holds(() => f.Store.Subscriptions == 1);
        var asked = new System.Collections.Concurrent.ConcurrentQueue<(string Purpose, bool Waits, bool OthersWait)>();
        var answer = new TaskCompletionSource();
        f.Store.OnAcquire = async (request, result, _) =>
        {
            asked.Enqueue((request.Purpose, request.Waits, request.OthersWait));
            await answer.Task;
            return result();
        };

        var first = provider.AcquireAsync(Key, "first", Wait).AsTask();
        await Eventually.Holds(() => asked.Count == 1);
        var second = provider.AcquireAsync(Key, "second", Wait).AsTask();
        var third = provider.AcquireAsync(Key, "third", Wait).AsTask();
        answer.SetResult();
        var lease = Assert.IsType<LockAttempt.Granted>(await first.WaitAsync(Bound)).Lease;
        await Eventually.Holds(() => asked.Count == 2);
        await lease.ReleaseAsync();
        await Assert.IsType<LockAttempt.Granted>(await second.WaitAsync(Bound)).Lease.ReleaseAsync();
        await Assert.IsType<LockAttempt.Granted>(await third.WaitAsync(Bound)).Lease.ReleaseAsync();

        Assert.Equal([("first", true, false), ("second", true, true)], asked.Take(2));
        Assert.Contains(("second", true, true), asked.Skip(2));
        Assert.Equal(("third", true, false), asked.Last());
    }

    [Fact]
    public async Task Store_that_goes_away_answers_all_waiters()
    {
        await using var f = new LeaseFixture();
        await f.Provider.StartAsync(CancellationToken.None);
        f.Store.GrantToOther(Key, TimeSpan.FromMinutes(1));
        var waiters = Enumerable.Range(0, 5).Select(_ => f.Provider.AcquireAsync(Key, "w", Wait).AsTask()).ToList();
        f.Store.OnAcquire = (_, _, _) => new(new AcquireResult.Unavailable("refused"));
        await f.AdvanceUntil(() => waiters.TrueForAll(w => w.IsCompleted), TimeSpan.FromSeconds(3));
        Assert.All(waiters, w => Assert.IsType<LockAttempt.Unavailable>(w.Result));
    }

    [Fact]
    public async Task Watch_reports_local_and_pushed_releases_and_survives_a_failed_subscription()
    {
        await using var f = new LeaseFixture();
        var failures = 0;
        f.Store.OnSubscribe = _ => ++failures <= 2 ? throw new StoreUnavailableException("no permission") : default;
        f.Store.Pushes = false;
        var seen = new System.Collections.Concurrent.ConcurrentQueue<LockKey>();
        using var watch = f.Provider.Watch(seen.Enqueue);
        var lease = await f.TakeAsync();
        await lease.ReleaseAsync();
        Assert.Equal([Key], seen);
        await f.AdvanceUntil(() => f.Store.Subscriptions == 1, TimeSpan.FromSeconds(10));
        Assert.True(f.Provider.Health.IsUp);
        f.Store.Push(LockKey.From("elsewhere"));
        Assert.Equal([Key, LockKey.From("elsewhere")], seen);
        watch.Dispose();
        f.Store.Push(Key);
        Assert.Equal(2, seen.Count);
        Assert.Equal(1, f.Log.Count(1009));
    }

    [Fact]
    public async Task Disposing_of_the_provider_answers_those_who_wait()
    {
        var f = new LeaseFixture();
        f.Store.GrantToOther(Key, TimeSpan.FromMinutes(1));
        var waiting = f.Provider.AcquireAsync(Key, "w", Wait).AsTask();
        await f.DisposeAsync();
        Assert.IsType<LockAttempt.Unavailable>(await waiting.WaitAsync(Bound));
    }
}
