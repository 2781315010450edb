using Scheduler.Leases;
using Scheduler.Locking;
using Scheduler.Testing;
using static Scheduler.Tests.Leases.LeaseFixture;

namespace Scheduler.Tests.Leases;

/// <summary>Rules 6 and 7: every call bounded, a silent store counts as down, unknown outcomes are dropped.</summary>
public sealed class StoreGateTests
{
    [Fact]
    public async Task Hung_acquire_is_bounded_then_refused_at_once_until_a_probe_succeeds()
    {
        await using var f = new LeaseFixture();
        await f.Provider.StartAsync(default);
        var hang = new TaskCompletionSource<AcquireResult>(TaskCreationOptions.RunContinuationsAsynchronously);
        f.Store.OnAcquire = async (_, _, _) => await hang.Task;
        f.Store.OnCheck = (_, _) => throw new StoreUnavailableException("still away");
        var attempt = f.Provider.TryAcquireAsync(Key, "test").AsTask();
        f.Fake.Advance(TimeSpan.FromMilliseconds(999));
        Assert.False(attempt.IsCompleted);
        f.Fake.Advance(TimeSpan.FromMilliseconds(1));
        Assert.IsType<LockAttempt.Unavailable>(await attempt.WaitAsync(Bound));
        Assert.False(f.Provider.Health.IsUp);
        Assert.IsType<LockAttempt.Unavailable>(await f.Provider.TryAcquireAsync(Key, "test"));
        Assert.Equal(1, f.Store.Acquires);
        await f.AdvanceUntil(() => f.Provider.Health.Reason == "still away", TimeSpan.FromSeconds(5));
        f.Store.OnCheck = null;
        f.Store.OnAcquire = null;
        await f.AdvanceUntil(() => f.Provider.Health.IsUp, TimeSpan.FromSeconds(5));
        await (await f.TakeAsync()).DisposeAsync();
        Assert.Equal(2, f.Log.Count(1001));
    }

    [Fact]
    public async Task Acquire_that_timed_out_and_is_granted_late_is_dropped()
    {
        await using var f = new LeaseFixture();
        await f.Provider.StartAsync(default);
        var go = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        f.Store.OnAcquire = async (_, answer, _) =>
        {
            await go.Task;
            return answer();
        };
        var attempt = f.Provider.TryAcquireAsync(Key, "test").AsTask();
        f.Fake.Advance(TimeSpan.FromSeconds(1));
        Assert.IsType<LockAttempt.Unavailable>(await attempt.WaitAsync(Bound));
        await f.AdvanceUntil(() => f.Store.Releases > 0, TimeSpan.FromSeconds(10));
        Assert.Equal(1, f.Provider.Runtime.Dropper.Count);
        go.SetResult();
        await f.AdvanceUntil(() => f.Log.Count(1008) == 1 && f.Provider.Runtime.Dropper.Count == 0, TimeSpan.FromSeconds(5));
        Assert.Equal(0, f.Store.Held);
    }

    [Fact]
    public async Task Cancelled_acquire_throws_and_its_grant_is_dropped_without_calling_the_store_down()
    {
        await using var f = new LeaseFixture();
        await f.Provider.StartAsync(default);
        var go = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        f.Store.OnAcquire = async (_, answer, _) =>
        {
            await go.Task;
            return answer();
        };
        using var cancel = new CancellationTokenSource();
        var attempt = f.Provider.TryAcquireAsync(Key, "test", cancellationToken: cancel.Token).AsTask();
        await cancel.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => attempt.WaitAsync(Bound));
        Assert.True(f.Provider.Health.IsUp);
        go.SetResult();
        await f.AdvanceUntil(() => f.Provider.Runtime.Dropper.Count == 0 && f.Store.Releases > 0, TimeSpan.FromSeconds(10));
        Assert.Equal(0, f.Store.Held);
    }

    [Fact]
    public async Task Unanswered_release_says_false_and_goes_on_in_the_background()
    {
        await using var f = new LeaseFixture();
        var lease = await f.TakeAsync();
        f.Store.OnRelease = (_, _, _) => throw new InvalidOperationException("connection reset");
        Assert.False(await lease.ReleaseAsync());
        Assert.NotNull(f.Store.OwnerOf(Key));
        f.Store.OnRelease = null;
        await f.AdvanceUntil(() => f.Store.OwnerOf(Key) is null, TimeSpan.FromSeconds(5));
        Assert.Equal(0, f.Provider.HeldCount);
    }

    [Fact]
    public async Task Outage_shorter_than_the_lease_loses_nothing()
    {
        await using var f = new LeaseFixture();
        var lease = await f.TakeAsync();
        f.Store.OnRenew = (_, _, _) => throw new StoreUnavailableException("refused");
        f.Store.OnCheck = (_, _) => throw new StoreUnavailableException("refused", retryAfter: TimeSpan.FromMinutes(1));
        await f.AdvanceUntil(() => !f.Provider.Health.IsUp && f.Store.Renewals >= 2, TimeSpan.FromSeconds(9));
        var deadline = lease.Deadline;
        f.Store.OnRenew = null;
        // The watchdog goes on while calls are refused.
        await f.AdvanceUntil(() => lease.Deadline > deadline, TimeSpan.FromSeconds(9));
        Assert.True(lease.IsHeld);
        Assert.IsType<LockAttempt.Unavailable>(await f.Provider.TryAcquireAsync(LockKey.From("other"), "test"));
    }

    [Fact]
    public async Task After_an_outage_leases_are_renewed_at_once_and_what_it_took_is_told()
    {
        await using var f = new LeaseFixture(configure: o => o.LeaseDuration = TimeSpan.FromSeconds(30));
        await f.Provider.StartAsync(default);
        var (lost, kept) = (await f.TakeAsync(), await f.TakeAsync(LockKey.From("other")));
        // The first renewal would be due after 10 s.
        f.Store.OnAcquire = (_, _, _) => throw new StoreUnavailableException("restarting");
        Assert.IsType<LockAttempt.Unavailable>(await f.Provider.TryAcquireAsync(LockKey.From("third"), "test"));
        f.Store.Forget(Key);

        await f.AdvanceUntil(() => f.Provider.Health.IsUp && lost.Lost.IsCancellationRequested, TimeSpan.FromSeconds(4));

        Assert.Equal(LossReason.StoreLost, lost.LossReason);
        Assert.True(kept.IsHeld);
        Assert.Equal(1, f.Store.Renewals);
    }

    [Fact]
    public async Task Start_throws_what_the_check_threw_and_the_provider_comes_up_by_itself()
    {
        await using var f = new LeaseFixture();
        var error = new StoreUnavailableException("maxmemory-policy is allkeys-lru; set noeviction.", permanent: true);
        f.Store.OnCheck = (_, _) => throw error;
        Assert.Same(error, await Assert.ThrowsAsync<StoreUnavailableException>(async () => await f.Provider.StartAsync(default)));
        Assert.IsType<LockAttempt.Unavailable>(await f.Provider.TryAcquireAsync(Key, "test"));
        Assert.Equal(0, f.Store.Acquires);
        f.Store.OnCheck = null;
        await f.AdvanceUntil(() => f.Provider.Health.IsUp, TimeSpan.FromSeconds(5));
    }

    [Fact]
    public async Task Use_is_recalled_before_each_check_and_the_store_is_paired_after_it()
    {
        await using var f = new LeaseFixture();
        var seen = new List<string>();
        f.Store.OnCheck = (use, _) =>
        {
            seen.Add($"check {use}");
            return new(new LeaseStoreInfo("id-1", Level.Efficiency, ["No persistence."]));
        };
        await using var provider = new LockProvider(
            f.Store,
            f.Options,
            ReplicaIdentity.Create("b"),
            f.Time,
            f.Log,
            new ScriptedPairing(seen)
        );
        var lease = await f.TakeAsync(provider: provider);
        await provider.StartAsync(default);
        var later = await f.TakeAsync(LockKey.From("other"), provider: provider);
        Assert.Equal(["check Used", "pair id-1", "check Used", "pair id-1"], seen);
        Assert.Equal((1, 2), (lease.Token.Generation, later.Token.Generation));
        Assert.Equal(1, f.Log.Count(1002));
    }

    [Fact]
    public async Task A_pair_that_is_not_confirmed_takes_the_store_away_and_another_check_brings_it_back()
    {
        await using var f = new LeaseFixture();
        var pairing = new ScriptedPairing([]);
        await using var provider = new LockProvider(f.Store, f.Options, ReplicaIdentity.Create("b"), f.Time, f.Log, pairing);
        await provider.StartAsync(default);
        pairing.Problem = "It belongs to others.";
        await f.AdvanceUntil(() => !provider.Health.IsUp, TimeSpan.FromSeconds(6));
        Assert.Contains("It belongs to others.", provider.Health.Reason, StringComparison.Ordinal);
        Assert.IsType<LockAttempt.Unavailable>(await provider.TryAcquireAsync(Key, "test"));
        pairing.Problem = null;
        await f.AdvanceUntil(() => provider.Health.IsUp, TimeSpan.FromSeconds(6));
        // And it is confirmed again and again, not once.
        pairing.Problem = "It belongs to others again.";
        await f.AdvanceUntil(() => !provider.Health.IsUp, TimeSpan.FromSeconds(6));
    }

    [Fact]
    public async Task Wrong_arguments_are_refused()
    {
        await using var f = new LeaseFixture();
        await Assert.ThrowsAsync<ArgumentException>(async () => await f.Provider.TryAcquireAsync(default, "x"));
        await Assert.ThrowsAsync<ArgumentException>(async () => await f.Provider.TryAcquireAsync(Key, new string('x', 1_025)));
        foreach (var duration in new[] { TimeSpan.FromMilliseconds(49), TimeSpan.FromSeconds(31) })
        {
            await Assert.ThrowsAsync<ArgumentOutOfRangeException>(async () => await f.Provider.TryAcquireAsync(Key, "x", duration));
        }
        await (await f.TakeAsync(duration: TimeSpan.FromMilliseconds(50))).DisposeAsync();
    }

    [Fact]
    public async Task Drops_are_bounded()
    {
        await using var f = new LeaseFixture(configure: o => o.MaxPendingDrops = 3);
        await f.Provider.StartAsync(default);
        f.Store.OnAcquire = (_, _, _) => throw new InvalidOperationException("reset");
        f.Store.OnCheck = (_, _) => throw new StoreUnavailableException("away");
        for (var i = 0; i < 5; i++)
        {
            f.Provider.Runtime.Dropper.AddGrant(LockKey.From($"k{i}"), new LeaseOwner("a", i), TimeSpan.FromSeconds(10));
            f.Provider.Runtime.Gate.NoteFailure("test", null);
        }
        Assert.True(f.Provider.Runtime.Dropper.Count <= 3);
        await Eventually.Holds(() => f.Log.Count(1007) == 1);
        await f.AdvanceUntil(() => f.Provider.Runtime.Dropper.Count == 0, TimeSpan.FromSeconds(30), TimeSpan.FromSeconds(1));
    }

    private sealed class ScriptedPairing(List<string> seen) : ILockStorePairing
    {
        private int _generation;

        public string? Problem { get; set; }

        public ValueTask<LockStoreUse> RecallAsync(CancellationToken cancellationToken) => new(LockStoreUse.Used);

        public ValueTask<int> PairAsync(LeaseStoreInfo info, CancellationToken cancellationToken)
        {
            seen.Add($"pair {info.Id}");
            return Problem is null ? new(++_generation) : throw new StoreUnavailableException(Problem);
        }

        public ValueTask ConfirmAsync(CancellationToken cancellationToken) =>
            Problem is null ? default : throw new StoreUnavailableException(Problem);
    }
}
