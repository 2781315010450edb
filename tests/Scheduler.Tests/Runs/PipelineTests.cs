using Scheduler.Leases;
using Scheduler.Locking;
using Scheduler.Locking.InMemory;
using Scheduler.Runs;
using Scheduler.Testing;
using Scheduler.Time;

namespace Scheduler.Tests.Runs;

/// <summary>The way of a fire up to the record of its end: what is recorded, when the lock goes, and what never runs.</summary>
public sealed class PipelineTests : PipelineFixture
{
    [Fact]
    public async Task ABodyRunsUnderLockAndClaimAndIsRecordedBeforeTheRelease()
    {
        Claims.OnComplete = async _ =>
        {
            Assert.NotNull(await Locks.ReadAsync(Key));
            return true;
        };

        var result = await ExecuteAsync(_ => ValueTask.CompletedTask);

        Assert.IsType<FireResult.Succeeded>(result);
        Assert.Equal(RunOutcome.Succeeded, Assert.Single(Claims.Completions).Outcome);
        Assert.Null(await Locks.ReadAsync(Key));
    }

    [Fact]
    public async Task TheEndTellsWhenTheBodyBeganAndNotWhenTheClaimWasAskedFor()
    {
        var claimed = DateTimeOffset.MinValue;
        Claims.OnClaim = _ =>
        {
            claimed = TimeProvider.System.GetUtcNow();
            return ValueTask.FromResult<ClaimAnswer>(new ClaimAnswer.Claimed("run", 1));
        };
        var began = DateTimeOffset.MaxValue;

        await ExecuteAsync(_ =>
        {
            began = TimeProvider.System.GetUtcNow();
            return ValueTask.CompletedTask;
        });

        Assert.InRange(Assert.Single(Claims.Completions).StartedAt!.Value, claimed, began);
    }

    [Fact]
    public async Task AHeldKeyIsASkipThatNamesTheHolderAndItsPurpose()
    {
        await using var other = new LockProvider(
            new InMemoryLeaseStore(Server, "test"),
            Options,
            ReplicaIdentity.Create("other"),
            BootTimeProvider.Instance
        );
        var granted = (LockAttempt.Granted)await other.TryAcquireAsync(Key, "something else");

        var skipped = Assert.IsType<FireResult.Skipped>(await ExecuteAsync(_ => throw new InvalidOperationException("must not run")));

        Assert.Contains("something else", skipped.Reason);
        Assert.StartsWith("other-", skipped.Holder, StringComparison.Ordinal);
        Assert.Empty(Claims.Claims);
        await granted.Lease.ReleaseAsync();
    }

    [Fact]
    public async Task ARecordedOccurrenceIsASkipAndTheLockIsReleased()
    {
        Claims.OnClaim = _ => ValueTask.FromResult<ClaimAnswer>(new ClaimAnswer.NotOurs("recorded as Succeeded (attempt 1)", "other"));

        Assert.IsType<FireResult.Skipped>(await ExecuteAsync(_ => throw new InvalidOperationException("must not run")));

        Assert.Null(await Locks.ReadAsync(Key));
        Assert.Empty(Claims.Completions);
    }

    [Fact]
    public async Task AClaimWithoutAnAnswerRunsNoBodyAndKeepsTheLockUntilItIsResolved()
    {
        Claims.OnClaim = _ => throw new StateUnavailableException("no answer");
        var resolve = new TaskCompletionSource();
        var tries = 0;
        Claims.OnResolve = async () =>
        {
            if (++tries < 3)
            {
                throw new StateUnavailableException("still none");
            }
            await resolve.Task;
        };

        Assert.IsType<FireResult.Unavailable>(await ExecuteAsync(_ => throw new InvalidOperationException("must not run")));

        await Eventually.Holds(() => tries == 3);
        Assert.NotNull(await Locks.ReadAsync(Key));
        Assert.Equal(1, Pipeline.Unrecorded);
        resolve.SetResult();
        await Eventually.Holds(async () => await Locks.ReadAsync(Key) is null);
        Assert.Equal(0, Pipeline.Unrecorded);
    }

    [Fact]
    public async Task ACompletionWithoutAnAnswerIsRepeatedInTheBackgroundUnderTheLock()
    {
        var down = true;
        Claims.OnComplete = _ => Volatile.Read(ref down) ? throw new StateUnavailableException("no answer") : ValueTask.FromResult(true);

        Assert.IsType<FireResult.Succeeded>(await ExecuteAsync(_ => ValueTask.CompletedTask));

        await Eventually.Holds(() => Claims.Completions.Count > 3);
        Assert.NotNull(await Locks.ReadAsync(Key));
        Volatile.Write(ref down, false);
        await Eventually.Holds(async () => await Locks.ReadAsync(Key) is null);
        Assert.All(Claims.Completions, c => Assert.Equal(Claims.Completions.First(), c));
    }

    [Fact]
    public async Task AtTheEndOfAStopAnUnrecordedEndIsLeftAndItsLockIsNotReleased()
    {
        Claims.OnComplete = _ => throw new StateUnavailableException("no answer");
        await ExecuteAsync(_ => ValueTask.CompletedTask);
        await Eventually.Holds(() => Claims.Completions.Count > 1);

        await Pipeline.DisposeAsync();

        Assert.Equal(0, Pipeline.Unrecorded);
        Assert.NotNull(await Locks.ReadAsync(Key));
    }

    [Fact]
    public async Task ACancelledAcquireIsNoExceptionOfTheFire()
    {
        using var cancelled = new CancellationTokenSource();
        await cancelled.CancelAsync();

        var result = await Pipeline.ExecuteAsync(
            Fire(() => { }),
            _ => throw new InvalidOperationException("must not run"),
            cancelled.Token
        );

        Assert.IsType<FireResult.Unavailable>(result);
    }

    [Fact]
    public async Task ALeaseThatWasLostDuringTheClaimRunsNoBody()
    {
        Claims.OnClaim = async _ =>
        {
            await Locks.RevokeAsync(Key);
            await Eventually.Holds(() => !Claims.Lease!.IsHeld);
            return new ClaimAnswer.Claimed("run", 1);
        };
        var ran = false;

        var result = await ExecuteAsync(_ =>
        {
            ran = true;
            return ValueTask.CompletedTask;
        });

        Assert.False(ran);
        Assert.Equal(CancelReason.LeaseLost, Assert.IsType<FireResult.Interrupted>(result).Reason);
        var completion = Assert.Single(Claims.Completions);
        Assert.Equal((RunOutcome.Interrupted, null), (completion.Outcome, completion.StartedAt));
    }

    [Fact]
    public async Task AClaimThatIsRefusedAsWrongReleasesTheLock()
    {
        Claims.OnClaim = _ => throw Wrong("the run is protected by another key");

        var result = await ExecuteAsync(_ => throw new InvalidOperationException("must not run"));

        Assert.Contains("another key", Assert.IsType<FireResult.Unavailable>(result).Reason);
        Assert.Null(await Locks.ReadAsync(Key));
    }

    [Fact]
    public async Task AnEndThatCannotBeRecordedAtAllIsGivenUpAndOthersGoOn()
    {
        Claims.OnComplete = _ => throw new StateUnavailableException("no answer");
        await ExecuteAsync(_ => ValueTask.CompletedTask);
        Claims.OnComplete = _ => throw Wrong("a defect");
        await Eventually.Holds(() => Pipeline.Unrecorded == 0);

        var tries = 0;
        Claims.OnComplete = _ =>
            Interlocked.Increment(ref tries) == 1 ? throw new StateUnavailableException("no answer") : ValueTask.FromResult(true);
        var other = Fire(() => { }) with { LockKey = LockKey.From("job:other") };
        Assert.IsType<FireResult.Succeeded>(await Pipeline.ExecuteAsync(other, _ => ValueTask.CompletedTask, CancellationToken.None));

        await Eventually.Holds(async () => await Locks.ReadAsync(other.LockKey) is null);
        Assert.Equal(0, Pipeline.Unrecorded);
    }
}
