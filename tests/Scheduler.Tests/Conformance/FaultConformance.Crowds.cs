using Scheduler.Leases;
using Scheduler.Locking;
using Scheduler.Testing;

namespace Scheduler.Tests.Conformance;

// Many at once over a way that is not perfect.
public abstract partial class FaultConformance<TFixture>
{
    private const int Kilobyte = 1_024;

    [Fact]
    public Task A_thousand_waiters_get_one_key_one_after_another() =>
        Seed.RunAsync(async () =>
        {
            const int Waiters = 1_000;
            // A disk that stalls while it commits for one of them is not what is tested.
            var replicas = await Task.WhenAll(
                Enumerable.Range(0, 4).Select(_ => StartBehindAsync(o => o.CallTimeout = TimeSpan.FromSeconds(10)))
            );
            var holder = await StartBesideAsync();
            var lease = await holder.AcquireAsync(Key, Long);
            var heap = GC.GetTotalMemory(forceFullCollection: true);
            var oracle = new MutualExclusionOracle();
            var waiting = 0;

            var all = oracle.RunAsync(
                Waiters,
                incrementsEach: 1,
                async task =>
                {
                    var locks = replicas[task % replicas.Length].Locks;
                    var attempt = locks.AcquireAsync(Key, "wait", TimeSpan.FromMinutes(2), Long, Stop).AsTask();
                    Interlocked.Increment(ref waiting);
                    return await attempt is LockAttempt.Granted granted
                        ? granted.Lease
                        : throw new InvalidOperationException($"{await attempt}");
                }
            );
            await Eventually.Holds(() => Volatile.Read(ref waiting) == Waiters, Bound, "all wait");
            heap = GC.GetTotalMemory(forceFullCollection: true) - heap;
            var sent = Sent();
            await lease.ReleaseAsync(Stop);
            await all.WaitAsync(TimeSpan.FromSeconds(60), Stop);

            Assert.Equal(Waiters, oracle.Counted);
            Assert.True(oracle.TokensGrew, "a later holder had a smaller token");
            Assert.True(heap < Waiters * 32 * Kilobyte, $"{heap} bytes for {Waiters} waiters");
            // Whoever waits asks now and then and when it may be free; were all to ask at each release it would be a thousand times that.
            sent = Sent() - sent;
            Assert.True(sent < Waiters * 32 * Kilobyte, $"{sent} bytes for {Waiters} waiters");
            Assert.InRange(Fixture.Proxies.Max(p => p.Connections), 1, replicas.Length * 10);
        });

    [Fact]
    public Task Ten_thousand_keys_are_taken_kept_and_released_at_once() =>
        Seed.RunAsync(async () =>
        {
            const int Keys = 10_000;
            var replica = await StartBehindAsync(o =>
                (o.CallTimeout, o.RenewalInterval) = (TimeSpan.FromSeconds(10), TimeSpan.FromSeconds(2))
            );
            Each(proxy => proxy.ToServer.Latency = TimeSpan.FromMilliseconds(5));

            var attempts = await Task.WhenAll(
                Enumerable
                    .Range(0, Keys)
                    .Select(i => replica.Locks.TryAcquireAsync(LockKey.From($"{Key}:{i}"), "many", Long, Stop).AsTask())
            );

            var leases = attempts.Select(a => Assert.IsType<LockAttempt.Granted>(a).Lease).ToList();
            var deadlines = leases.ConvertAll(l => l.Deadline);
            await Eventually.Holds(
                () => leases.Zip(deadlines, (l, before) => l.Deadline > before).All(moved => moved),
                Bound,
                "all are renewed"
            );
            Assert.All(leases, lease => Assert.True(lease.IsHeld, $"{lease.Key} was lost: {lease.LossReason}"));
            await Task.WhenAll(leases.Select(l => l.ReleaseAsync(Stop).AsTask()));
            Assert.Equal(0, replica.Locks.HeldCount);
            // A call that has no answer in time, as on a busy machine, makes the others wait for the background.
            await AllDroppedAsync(replica);
            await UpAsync(replica);
            Assert.Empty((await replica.Locks.ListAsync("", 1_000, null, Stop)).Items);
        });

    [Fact]
    public Task Cancelled_acquires_leave_nothing_behind() =>
        Seed.RunAsync(async () =>
        {
            const int Attempts = 200;
            var late = TimeSpan.FromMilliseconds(20);
            var (behind, beside) = await StartTwoAsync();
            Each(proxy => (proxy.ToServer.Latency, proxy.ToClient.Latency) = (late, late));
            var cancelled = 0;

            await Task.WhenAll(Enumerable.Range(0, Attempts).Select(AskAndCancelAsync));

            Assert.InRange(cancelled, 1, Attempts);
            Heal();
            await AllDroppedAsync(behind);
            await Eventually.Holds(
                async () => (await beside.Locks.ListAsync("", 10, null, Stop)).Items.Count == 0,
                Bound,
                "all keys are free"
            );
            Assert.True(behind.Locks.Health.IsUp, behind.Locks.Health.Reason);

            async Task AskAndCancelAsync(int i)
            {
                using var cancel = new CancellationTokenSource(Seed.Next(2 * late), TimeProvider.System);
                try
                {
                    var answer = await behind.Locks.TryAcquireAsync(LockKey.From($"{Key}:{i}"), "cancelled", Long, cancel.Token);
                    Assert.True(await Assert.IsType<LockAttempt.Granted>(answer).Lease.ReleaseAsync(Stop));
                }
                catch (OperationCanceledException)
                {
                    Interlocked.Increment(ref cancelled);
                }
            }
        });

    [Fact]
    public Task Keys_of_every_plane_arrive_as_they_are_however_they_are_cut_into_pieces() =>
        Seed.RunAsync(async () =>
        {
            var (behind, beside) = await StartTwoAsync();
            Each(proxy => (proxy.ToServer.LargestPiece, proxy.ToClient.LargestPiece) = (7, 7));
            var keys = Enumerable.Range(0, 17).Select(plane => LockKey.From($"{plane}:{CharactersOf(plane)}")).ToList();

            var leases = await Task.WhenAll(keys.Select(key => behind.AcquireAsync(key, Long, key.Value)));

            foreach (var (key, lease) in keys.Zip(leases))
            {
                Assert.Equal((key, lease.Token.Number, key.Value), Shown(await beside.Locks.ReadAsync(key, Stop)));
                Assert.Equal((key, lease.Token.Number, key.Value), Shown(await behind.Locks.ReadAsync(key, Stop)));
                Assert.Equal(key, Assert.Single((await behind.Locks.ListAsync(key.Value, 10, null, Stop)).Items).Key);
                var held = Assert.IsType<LockAttempt.Held>(await beside.Locks.TryAcquireAsync(key, "rival", Long, Stop));
                Assert.Equal(key.Value, held.Purpose);
            }
            Assert.All(await Task.WhenAll(leases.Select(l => l.ReleaseAsync(Stop).AsTask())), Assert.True);
        });

    private long Sent() => Fixture.Proxies.Sum(p => p.ToServer.Passed);

    private static (LockKey Key, long Number, string Purpose)? Shown(LeaseRecord? record) =>
        record is null ? null : (record.Key, record.Number, record.Purpose);

    /// <summary>Some characters of a plane of Unicode, whether anything is assigned to them or not.</summary>
    private string CharactersOf(int plane)
    {
        var drawn = Enumerable
            .Range(0, 40)
            .Select(_ => (plane << 16) + Seed.Next(0x1_0000))
            .Where(c => c is >= 0xA0 and not (>= 0xD800 and < 0xE000));
        return string.Concat(drawn.Select(char.ConvertFromUtf32));
    }
}
