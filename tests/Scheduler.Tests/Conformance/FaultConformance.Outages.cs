using Scheduler.Leases;
using Scheduler.Locking;
using Scheduler.Testing;

namespace Scheduler.Tests.Conformance;

// Servers and connections that end and come back, and the end of a replica meanwhile. Rules 1, 7 and 11.
public abstract partial class FaultConformance<TFixture>
{
    [Fact]
    public Task A_restart_of_the_server_lets_nobody_in_beside_the_holder_and_the_waiter_in_after_it() =>
        Seed.RunAsync(async () =>
        {
            var (holder, waiter) = (await StartBehindAsync(), await StartBehindAsync());
            var lease = await holder.AcquireAsync(Key, Long);
            var waiting = WaitAsync(waiter, lease);
            await Eventually.Holds(() => waiter.Way.Acquires > 0, Bound, "the waiter has asked");

            await Fixture.StopServerAsync();
            try
            {
                await Eventually.Holds(() => !holder.Locks.Health.IsUp || !waiter.Locks.Health.IsUp || waiting.IsCompleted, Bound);
            }
            finally
            {
                await Fixture.StartServerAsync();
            }
            await Task.WhenAll(UpAsync(holder), UpAsync(waiter));
            await Eventually.Holds(() => lease.IsHeld == Fixture.Inner.LeasesOutliveConnections, Bound, "the holder knows");
            await lease.ReleaseAsync(Stop);

            var next = await waiting.WaitAsync(Bound, Stop);
            Assert.True(next.Token > lease.Token, $"{next.Token} after {lease.Token}");
            await next.ReleaseAsync(Stop);
        });

    [Fact]
    public Task A_connection_that_is_cut_and_comes_back_is_noticed_by_nobody_or_in_time() =>
        Seed.RunAsync(async () =>
        {
            var (holder, waiter) = (await StartBehindAsync(OftenRenewed), await StartBehindAsync());
            var beside = await StartBesideAsync();
            foreach (var cut in Shuffled(CutAll, () => CutACallOfAsync(holder), RefuseAWhileAsync, SilenceAWhileAsync))
            {
                // A key for each: where leases end with their connection, the waiter has the one before.
                var key = LockKey.From($"job:{Guid.NewGuid():n}");
                var lease = await holder.AcquireWhenFreeAsync(key, Long, Bound);
                var waiting = WaitAsync(waiter, lease);
                await cut();
                Heal();
                if (await beside.Locks.TryAcquireAsync(key, "rival", Long, Stop) is LockAttempt.Granted rival)
                {
                    AssertOver(lease);
                    await rival.Lease.ReleaseAsync(Stop);
                }
                await Task.WhenAll(UpAsync(holder), UpAsync(waiter));
                var deadline = lease.Deadline;
                // A short silence is noticed by nobody; whatever else breaks ends the leases that end with their connection.
                var survives = Fixture.Inner.LeasesOutliveConnections || cut == SilenceAWhileAsync;
                await Eventually.Holds(() => !lease.IsHeld || (survives && lease.Deadline > deadline), Bound, "renewed again, or known");
                Assert.True(lease.IsHeld || !Fixture.Inner.LeasesOutliveConnections);
                await lease.ReleaseAsync(Stop);

                var next = await waiting.WaitAsync(Bound, Stop);
                Assert.True(next.IsHeld);
                await next.ReleaseAsync(Stop);
            }
        });

    [Fact]
    public Task Whoever_hears_nothing_any_more_ends_in_bounded_time() =>
        Seed.RunAsync(async () =>
        {
            var duration = TimeSpan.FromSeconds(1);
            var (behind, beside) = await StartTwoAsync();
            var lease = await AcquireSeenAsync(behind, beside, duration);
            var other = LockKey.From($"{Key}:other");
            await beside.AcquireAsync(other, Long);
            var waiting = behind.Locks.AcquireAsync(other, "wait", TimeSpan.FromMinutes(1), Long, Stop).AsTask();
            await Eventually.Holds(() => behind.Way.Acquires > 1, Bound, "the wait has begun");
            Each(proxy => proxy.Blackhole());
            var asking = behind.Locks.TryAcquireAsync(LockKey.From($"{Key}:asked"), "ask", Long, Stop).AsTask();

            await behind.Locks.DisposeAsync().AsTask().WaitAsync(Bound, Stop);

            Assert.False(lease.IsHeld);
            Assert.Equal(LossReason.ProviderDisposed, lease.LossReason);
            Assert.IsType<LockAttempt.Unavailable>(await waiting.WaitAsync(Bound, Stop));
            Assert.IsType<LockAttempt.Unavailable>(await asking.WaitAsync(Bound, Stop));
            await Assert.ThrowsAsync<ObjectDisposedException>(() => behind.Locks.TryAcquireAsync(Key, "late", Long, Stop).AsTask());
            Heal();
            await beside.AcquireWhenFreeAsync(Key, Long, Fixture.Inner.FreeAfter(duration) + Fixture.Slack);
            await Eventually.Holds(() => Fixture.Proxies.All(p => p.Connections == 0), Bound, "its connections are closed");
        });

    /// <summary>Draws faults again and again under load: whoever is in finds nobody in whose lease is held.</summary>
    [Fact]
    public Task Whatever_breaks_two_are_never_in() =>
        Seed.RunAsync(async () =>
        {
            var replicas = await Task.WhenAll(Enumerable.Range(0, 3).Select(_ => StartBehindAsync()));
            using var enough = CancellationTokenSource.CreateLinkedTokenSource(Stop);
            var room = new Room();
            var visitors = replicas
                .SelectMany(r => Enumerable.Range(0, 4).Select(_ => Task.Run(() => VisitAsync(r, room, enough.Token))))
                .ToList();
            foreach (
                var fault in Shuffled(
                    Fixture.Inner.LeasesOutliveConnections ? CutAll : SilenceAWhileAsync,
                    () => WhileAsync(p => p.ToServer.Latency = TimeSpan.FromMilliseconds(100)),
                    () => WhileAsync(p => p.ToClient.LargestPiece = 7),
                    () => WhileAsync(p => p.ToClient.BytesPerSecond = 2_000),
                    () => WhileAsync(p => p.ToServer.Hold()),
                    () => WhileAsync(p => p.ToClient.Hold()),
                    SilenceAWhileAsync
                )
            )
            {
                await fault();
                Heal();
                var before = room.Visits;
                await Eventually.Holds(() => room.Visits > before + 20, Bound, "locks are taken again");
            }
            await enough.CancelAsync();
            await Task.WhenAll(visitors).WaitAsync(Bound, Stop);

            Assert.Equal("", room.Problem);
        });

    private static void OftenRenewed(LeaseOptions options) => options.RenewalInterval = TimeSpan.FromMilliseconds(100);

    /// <summary>Waits, and again whenever the store's absence ended the wait, until the key is granted.</summary>
    private async Task<Lease> WaitAsync(TestReplica replica, Lease holder)
    {
        while (true)
        {
            var answer = await replica.Locks.AcquireAsync(holder.Key, "next", TimeSpan.FromMinutes(1), Long, Stop);
            if (answer is LockAttempt.Unavailable)
            {
                await Eventually.Passes(TimeSpan.FromMilliseconds(5), Stop);
                continue;
            }
            AssertOver(holder);
            return Assert.IsType<LockAttempt.Granted>(answer).Lease;
        }
    }

    /// <summary>Somebody else has the key now.</summary>
    private void AssertOver(Lease lease) =>
        // A server that ends a session frees its locks a moment before the holder hears of it; that is not promised away.
        Assert.False(lease.IsHeld && Fixture.Inner.LeasesOutliveConnections, "two holders at the same time");

    private static async Task VisitAsync(TestReplica replica, Room room, CancellationToken enough)
    {
        while (!enough.IsCancellationRequested)
        {
            var answer = await replica.Locks.AcquireAsync(room.Key, "visit", TimeSpan.FromSeconds(1), TimeSpan.FromSeconds(2), Stop);
            if (answer is LockAttempt.Granted { Lease: var lease })
            {
                room.Enter(lease);
                await Task.Yield();
                room.Leave(lease);
                await lease.ReleaseAsync(Stop);
            }
            else if (answer is LockAttempt.Unavailable)
            {
                await Eventually.Passes(TimeSpan.FromMilliseconds(5), Stop);
            }
        }
    }

    private Func<Task>[] Shuffled(params Func<Task>[] faults) => [.. faults.OrderBy(_ => Seed.Next(int.MaxValue))];

    private Task CutAll()
    {
        Each(proxy => proxy.ResetAll());
        return Task.CompletedTask;
    }

    private async Task CutACallOfAsync(TestReplica replica)
    {
        var cut = Break(Breakage.AnswerCut);
        await replica.Locks.TryAcquireAsync(Key, "cut", Long, Stop);
        await cut.WaitAsync(Bound, Stop);
    }

    private Task SilenceAWhileAsync() => WhileAsync(proxy => proxy.Blackhole());

    private Task RefuseAWhileAsync() =>
        WhileAsync(proxy =>
        {
            proxy.RefusesConnections = true;
            proxy.ResetAll();
        });

    // Shorter and longer than what a call may take.
    private async Task WhileAsync(Action<Testing.Servers.Faults.FaultProxy> fault)
    {
        Each(fault);
        await Eventually.Passes(Seed.Next(2 * CallTimeout), Stop);
    }

    /// <summary>What the lock is for.</summary>
    private sealed class Room
    {
        private readonly Lock _gate = new();
        private Lease? _inside;
        private long _lastToken;
        private int _visits;

        public LockKey Key { get; } = LockKey.From($"room:{Guid.NewGuid():n}");

        public string Problem { get; private set; } = "";

        public int Visits => Volatile.Read(ref _visits);

        public void Enter(Lease lease)
        {
            lock (_gate)
            {
                // Whoever finds its own lease lost does not act.
                if (!lease.IsHeld)
                {
                    return;
                }
                Problem += _inside is { IsHeld: true } other ? $"{lease.Token} was let in while {other.Token} was held. " : "";
                Problem += lease.Token.Value <= _lastToken ? $"{lease.Token} came after {_lastToken}. " : "";
                (_inside, _lastToken) = (lease, lease.Token.Value);
                _visits++;
            }
        }

        public void Leave(Lease lease)
        {
            lock (_gate)
            {
                _inside = _inside == lease ? null : _inside;
            }
        }
    }
}
