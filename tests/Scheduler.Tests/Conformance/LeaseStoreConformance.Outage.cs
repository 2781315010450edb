using Scheduler.Leases;
using Scheduler.Locking;
using Scheduler.Testing;

namespace Scheduler.Tests.Conformance;

// Rules 6 and 7: unknown outcomes, and calls that end.
public abstract partial class LeaseStoreConformance<TFixture>
{
    [Fact]
    public async Task Rule_06_a_grant_whose_answer_was_lost_is_dropped()
    {
        var (first, second) = await StartTwoReplicasAsync(o => o.CallTimeout = Short);
        first.Way.GoSilent(commandsArrive: true);

        var answer = await first.Locks.TryAcquireAsync(Key, "test", Long, Stop).AsTask().WaitAsync(Bound, Stop);

        Assert.IsType<LockAttempt.Unavailable>(answer);
        Assert.Equal(first.Identity.Id, (await second.Locks.ReadAsync(Key, Stop))!.Holder);
        first.Way.Heal();
        await second.AcquireWhenFreeAsync(Key, Long, Bound);
    }

    [Fact]
    public async Task Rule_06_a_grant_of_a_cancelled_request_is_dropped()
    {
        var (first, second) = await StartTwoReplicasAsync(o => o.CallTimeout = TimeSpan.FromSeconds(5));
        first.Way.GoSilent(commandsArrive: true);
        using var cancel = new CancellationTokenSource();

        var asking = first.Locks.TryAcquireAsync(Key, "test", Long, cancel.Token).AsTask();
        await Eventually.Holds(async () => await second.Locks.ReadAsync(Key, Stop) is not null, Bound);
        await cancel.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => asking.WaitAsync(Bound, Stop));
        first.Way.Heal();

        await second.AcquireWhenFreeAsync(Key, Long, Bound);
    }

    [Fact]
    public async Task Rule_07_every_call_ends_although_no_answer_comes()
    {
        var replica = await StartReplicaAsync(o =>
        {
            o.CallTimeout = Short;
            o.ProbeInterval = TimeSpan.FromMinutes(1);
        });
        var lease = await replica.AcquireAsync(LockKey.From("job:held"), Long);
        replica.Way.GoSilent(commandsArrive: false);

        Assert.IsType<LockAttempt.Unavailable>(
            await replica.Locks.TryAcquireAsync(Key, "test", Long, Stop).AsTask().WaitAsync(Bound, Stop)
        );
        Assert.False(replica.Locks.Health.IsUp);
        Assert.NotEmpty(replica.Locks.Health.Reason!);
        await RefusedAsync(() => replica.Locks.ReadAsync(Key, Stop).AsTask());
        await RefusedAsync(() => replica.Locks.ListAsync("", 10, null, Stop).AsTask());
        await RefusedAsync(() => replica.Locks.RevokeAsync(Key, Stop).AsTask());
        Assert.False(await lease.ReleaseAsync(Stop).AsTask().WaitAsync(Bound, Stop));

        // A store that counts as down is not asked: answers come at once, however many ask.
        var before = replica.Way.Acquires;
        Assert.IsType<LockAttempt.Unavailable>(await replica.Locks.TryAcquireAsync(Key, "test", Long, Stop));
        Assert.IsType<LockAttempt.Unavailable>(await replica.Locks.TryAcquireAsync(Key, "test", Long, Stop));
        Assert.Equal(before, replica.Way.Acquires);

        async Task RefusedAsync(Func<Task> call) =>
            await Assert.ThrowsAsync<StoreUnavailableException>(() => call().WaitAsync(Bound, Stop));
    }

    [Fact]
    public async Task Rule_07_a_store_that_answers_again_is_used_again()
    {
        var replica = await StartReplicaAsync(o => o.CallTimeout = Short);
        replica.Way.GoSilent(commandsArrive: false);
        Assert.IsType<LockAttempt.Unavailable>(
            await replica.Locks.TryAcquireAsync(Key, "test", Long, Stop).AsTask().WaitAsync(Bound, Stop)
        );

        replica.Way.Heal();

        await replica.AcquireWhenFreeAsync(Key, Long, Bound);
        Assert.True(replica.Locks.Health.IsUp);
    }

    [Fact]
    public async Task Rule_07_a_stopped_server_ends_leases_at_their_deadline_and_is_found_again()
    {
        Assert.SkipUnless(Fixture.CanRestartServer, "This store has no server of its own.");
        var (first, second) = await StartTwoReplicasAsync(o => o.CallTimeout = TimeSpan.FromMilliseconds(500));
        var lease = await first.AcquireAsync(Key, TimeSpan.FromSeconds(1));

        await Fixture.StopServerAsync();
        try
        {
            await FiresAsync(lease, Bound);
            Assert.False(lease.IsHeld);
            Assert.IsType<LockAttempt.Unavailable>(
                await second.Locks.TryAcquireAsync(Key, "test", Long, Stop).AsTask().WaitAsync(Bound, Stop)
            );
        }
        finally
        {
            await Fixture.StartServerAsync();
        }

        var next = await second.AcquireWhenFreeAsync(Key, Long, TimeSpan.FromSeconds(30));
        Assert.True(next.Token > lease.Token, $"{next.Token} after {lease.Token}");
        Assert.False(lease.IsHeld);
    }
}
