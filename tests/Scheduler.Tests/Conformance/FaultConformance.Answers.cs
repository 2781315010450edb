using Scheduler.Leases;
using Scheduler.Testing;

namespace Scheduler.Tests.Conformance;

// What is known when the answer does not come: nothing. Rules 3, 5 and 6.
public abstract partial class FaultConformance<TFixture>
{
    [Theory]
    [InlineData(Breakage.AnswerCut)]
    [InlineData(Breakage.RequestCut)]
    [InlineData(Breakage.AnswerSilent)]
    [InlineData(Breakage.RequestLate)]
    public Task An_acquire_without_an_answer_is_given_back(Breakage how) =>
        Seed.RunAsync(async () =>
        {
            var (behind, beside) = await StartTwoAsync();
            var broken = Break(how);

            var answer = await behind.Locks.TryAcquireAsync(Key, "lost", Long, Stop).AsTask().WaitAsync(Bound, Stop);

            await broken.WaitAsync(Bound, Stop);
            Heal();
            if (answer is LockAttempt.Granted { Lease: var lease })
            {
                // A store may ask again over another connection, under the same owner value: then it is the caller's, and is known. Or
                // what was cut came behind the answer: then a grant that ends with its connection may be over already.
                var record = await beside.Locks.ReadAsync(Key, Stop);
                Assert.True(
                    record?.Number == lease.Token.Number || (record is null && !Fixture.Inner.LeasesOutliveConnections),
                    $"{record}"
                );
                var released = await lease.ReleaseAsync(Stop);
                Assert.True(released || !Fixture.Inner.LeasesOutliveConnections);
            }
            Assert.IsNotType<LockAttempt.Held>(answer);
            Assert.Equal(0, behind.Locks.HeldCount);
            var next = await beside.AcquireWhenFreeAsync(Key, Long, Bound);
            // What was given back was the lost grant, by its owner value, and nobody else's.
            await AllDroppedAsync(behind);
            Assert.Equal(next.Token.Number, (await beside.Locks.ReadAsync(Key, Stop))!.Number);
        });

    [Theory]
    [InlineData(Breakage.AnswerCut)]
    [InlineData(Breakage.RequestCut)]
    [InlineData(Breakage.AnswerSilent)]
    [InlineData(Breakage.RequestLate)]
    public Task A_release_without_an_answer_is_confirmed_in_the_background(Breakage how) =>
        Seed.RunAsync(async () =>
        {
            var (behind, beside) = await StartTwoAsync();
            var lease = await behind.AcquireAsync(Key, Long);
            var broken = Break(how);

            await lease.ReleaseAsync(Stop).AsTask().WaitAsync(Bound, Stop);

            Assert.False(lease.IsHeld);
            await broken.WaitAsync(Bound, Stop);
            Heal();
            var next = await beside.AcquireWhenFreeAsync(Key, Long, Bound);
            await AllDroppedAsync(behind);
            Assert.Equal(next.Token.Number, (await beside.Locks.ReadAsync(Key, Stop))!.Number);
        });

    [Theory]
    [InlineData(Breakage.AnswerSilent)]
    [InlineData(Breakage.RequestLate)]
    public Task A_renewal_without_an_answer_never_extends(Breakage how) =>
        Seed.RunAsync(async () =>
        {
            var duration = TimeSpan.FromSeconds(1);
            var (behind, beside) = await StartTwoAsync();
            var lease = await AcquireSeenAsync(behind, beside, duration);
            await Break(how).WaitAsync(Bound, Stop);
            // Of what came before the silence the answer has been taken in when the next is on its way and held.
            var deadline = lease.Deadline;

            var next = await beside.AcquireWhenFreeAsync(Key, Long, (2 * duration) + Fixture.Slack);

            Assert.False(lease.IsHeld, "two holders at the same time");
            Assert.Equal(deadline, lease.Deadline);
            Assert.Equal(LossReason.DeadlinePassed, lease.LossReason);
            Heal();
            await UpAsync(behind);
            Assert.False(await lease.ReleaseAsync(Stop));
            Assert.False(lease.IsHeld);
            Assert.Equal(next.Token.Number, (await beside.Locks.ReadAsync(Key, Stop))!.Number);
        });

    [Fact]
    public Task A_holder_that_is_cut_off_blocks_nobody_longer_than_its_lease() =>
        Seed.RunAsync(async () =>
        {
            var duration = TimeSpan.FromSeconds(1);
            var (behind, beside) = await StartTwoAsync();
            var lease = await AcquireSeenAsync(behind, beside, duration);
            Each(proxy => proxy.Blackhole());

            await Eventually.Holds(() => lease.Lost.IsCancellationRequested, Bound, "Lost fires");

            var left = await beside.Locks.ReadAsync(Key, Stop);
            Assert.InRange(left?.Remaining ?? TimeSpan.Zero, TimeSpan.Zero, duration);
            await beside.AcquireWhenFreeAsync(Key, Long, Fixture.Inner.FreeAfter(duration) + Fixture.Slack);
        });

    /// <summary>Breaks the way of the next call that is about the key, or of all from now on.</summary>
    /// <returns>Ends when a call has met it.</returns>
    private async Task Break(Breakage how)
    {
        if (how is Breakage.AnswerCut or Breakage.RequestCut)
        {
            await Task.WhenAny(
                Fixture.Proxies.Select(p => how == Breakage.AnswerCut ? p.CutAnswerAsync(Key.Value) : p.CutRequestAsync(Key.Value))
            );
            return;
        }
        var flows = Fixture.Proxies.Select(p => how == Breakage.AnswerSilent ? p.ToClient : p.ToServer).ToList();
        flows.ForEach(flow => flow.Hold());
        await Eventually.Holds(() => flows.TrueForAll(flow => flow.Waiting > 0), Bound, "something is held");
    }
}

/// <summary>How a call loses its answer.</summary>
public enum Breakage
{
    /// <summary>The server executes it; the connection is cut in the middle of the answer.</summary>
    AnswerCut,

    /// <summary>The connection is cut in the middle of the request.</summary>
    RequestCut,

    /// <summary>The server executes it and hears on; nothing comes back.</summary>
    AnswerSilent,

    /// <summary>The server answers, but the request, and all behind it, arrives long after the caller has given up.</summary>
    RequestLate,
}
