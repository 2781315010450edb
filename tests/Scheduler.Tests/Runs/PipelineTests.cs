using System.Collections.Concurrent;
using Microsoft.Extensions.Logging.Abstractions;
using Scheduler.Leases;
using Scheduler.Locking;
using Scheduler.Locking.InMemory;
using Scheduler.Runs;
using Scheduler.Testing;
using Scheduler.Time;

namespace Scheduler.Tests.Runs;

/// <summary>The way of a fire with scripted claims: what is recorded, when the lock goes, and what never runs.</summary>
public sealed class PipelineTests : IAsyncDisposable
{
    private static readonly LockKey Key = LockKey.From("job:test");
    private readonly InMemoryLeaseServer _server = new();
    private readonly LeaseOptions _options = new()
    {
        LeaseDuration = TimeSpan.FromSeconds(2),
        ProbeInterval = TimeSpan.FromMilliseconds(20),
    };
    private readonly ScriptedClaims _claims = new();
    private readonly LockProvider _locks;
    private readonly RunPipeline _pipeline;
    private int _cancelled;

    public PipelineTests()
    {
        _locks = new LockProvider(
            new InMemoryLeaseStore(_server, "test"),
            _options,
            ReplicaIdentity.Create("one"),
            BootTimeProvider.Instance
        );
        _pipeline = new RunPipeline(
            _locks,
            _claims,
            ReplicaIdentity.Create("one"),
            _options,
            BootTimeProvider.Instance,
            NullLogger.Instance
        );
    }

    public async ValueTask DisposeAsync()
    {
        await _pipeline.DisposeAsync();
        await _locks.DisposeAsync();
    }

    [Fact]
    public async Task ABodyRunsUnderLockAndClaimAndIsRecordedBeforeTheRelease()
    {
        _claims.OnComplete = async _ =>
        {
            Assert.NotNull(await _locks.ReadAsync(Key));
            return true;
        };

        var result = await ExecuteAsync(_ => ValueTask.CompletedTask);

        Assert.IsType<FireResult.Succeeded>(result);
        Assert.Equal(RunOutcome.Succeeded, Assert.Single(_claims.Completions).Outcome);
        Assert.Null(await _locks.ReadAsync(Key));
    }

    [Fact]
    public async Task TheEndTellsWhenTheBodyBeganAndNotWhenTheClaimWasAskedFor()
    {
        var claimed = DateTimeOffset.MinValue;
        _claims.OnClaim = _ =>
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

        Assert.InRange(Assert.Single(_claims.Completions).StartedAt!.Value, claimed, began);
    }

    [Fact]
    public async Task AHeldKeyIsASkipThatNamesTheHolderAndItsPurpose()
    {
        await using var other = new LockProvider(
            new InMemoryLeaseStore(_server, "test"),
            _options,
            ReplicaIdentity.Create("other"),
            BootTimeProvider.Instance
        );
        var granted = (LockAttempt.Granted)await other.TryAcquireAsync(Key, "something else");

        var skipped = Assert.IsType<FireResult.Skipped>(await ExecuteAsync(_ => throw new InvalidOperationException("must not run")));

        Assert.Contains("something else", skipped.Reason);
        Assert.StartsWith("other-", skipped.Holder, StringComparison.Ordinal);
        Assert.Empty(_claims.Claims);
        await granted.Lease.ReleaseAsync();
    }

    [Fact]
    public async Task ARecordedOccurrenceIsASkipAndTheLockIsReleased()
    {
        _claims.OnClaim = _ => ValueTask.FromResult<ClaimAnswer>(new ClaimAnswer.NotOurs("recorded as Succeeded (attempt 1)", "other"));

        Assert.IsType<FireResult.Skipped>(await ExecuteAsync(_ => throw new InvalidOperationException("must not run")));

        Assert.Null(await _locks.ReadAsync(Key));
        Assert.Empty(_claims.Completions);
    }

    [Fact]
    public async Task AClaimWithoutAnAnswerRunsNoBodyAndKeepsTheLockUntilItIsResolved()
    {
        _claims.OnClaim = _ => throw new StateUnavailableException("no answer");
        var resolve = new TaskCompletionSource();
        var tries = 0;
        _claims.OnResolve = async () =>
        {
            if (++tries < 3)
            {
                throw new StateUnavailableException("still none");
            }
            await resolve.Task;
        };

        Assert.IsType<FireResult.Unavailable>(await ExecuteAsync(_ => throw new InvalidOperationException("must not run")));

        await Eventually.Holds(() => tries == 3);
        Assert.NotNull(await _locks.ReadAsync(Key));
        Assert.Equal(1, _pipeline.Unrecorded);
        resolve.SetResult();
        await Eventually.Holds(async () => await _locks.ReadAsync(Key) is null);
        Assert.Equal(0, _pipeline.Unrecorded);
    }

    [Fact]
    public async Task ACompletionWithoutAnAnswerIsRepeatedInTheBackgroundUnderTheLock()
    {
        var down = true;
        _claims.OnComplete = _ => Volatile.Read(ref down) ? throw new StateUnavailableException("no answer") : ValueTask.FromResult(true);

        Assert.IsType<FireResult.Succeeded>(await ExecuteAsync(_ => ValueTask.CompletedTask));

        await Eventually.Holds(() => _claims.Completions.Count > 3);
        Assert.NotNull(await _locks.ReadAsync(Key));
        Volatile.Write(ref down, false);
        await Eventually.Holds(async () => await _locks.ReadAsync(Key) is null);
        Assert.All(_claims.Completions, c => Assert.Equal(_claims.Completions.First(), c));
    }

    [Fact]
    public async Task AtTheEndOfAStopAnUnrecordedEndIsLeftAndItsLockIsNotReleased()
    {
        _claims.OnComplete = _ => throw new StateUnavailableException("no answer");
        await ExecuteAsync(_ => ValueTask.CompletedTask);
        await Eventually.Holds(() => _claims.Completions.Count > 1);

        await _pipeline.DisposeAsync();

        Assert.Equal(0, _pipeline.Unrecorded);
        Assert.NotNull(await _locks.ReadAsync(Key));
    }

    [Fact]
    public async Task ARevokedLeaseCancelsTheBodyAndTheRunIsInterrupted()
    {
        var entered = new TaskCompletionSource();
        using var interrupt = new CancellationTokenSource();
        var executing = _pipeline
            .ExecuteAsync(
                Fire(interrupt.Cancel),
                async run =>
                {
                    entered.SetResult();
                    await Task.Delay(Timeout.InfiniteTimeSpan, TimeProvider.System, interrupt.Token);
                },
                interrupt.Token
            )
            .AsTask();
        await entered.Task;

        await _locks.RevokeAsync(Key);

        var interrupted = Assert.IsType<FireResult.Interrupted>(await executing.WaitAsync(Eventually.DefaultBound));
        Assert.Equal(CancelReason.LeaseLost, interrupted.Reason);
        Assert.Equal(RunOutcome.Interrupted, Assert.Single(_claims.Completions).Outcome);
    }

    [Fact]
    public async Task ABodyThatReturnsNormallyAfterItsTokenFiredIsInterrupted()
    {
        var result = await LoseLeaseAsync(_ => { });

        Assert.IsType<FireResult.Interrupted>(result);
        Assert.Equal(RunOutcome.Interrupted, Assert.Single(_claims.Completions).Outcome);
    }

    [Fact]
    public async Task ABodyThatSaysCompleteAfterItsTokenFiredCountsAsSucceeded()
    {
        var result = await LoseLeaseAsync(run => run.Complete());

        Assert.IsType<FireResult.Succeeded>(result);
        Assert.Equal(RunOutcome.Succeeded, Assert.Single(_claims.Completions).Outcome);
    }

    [Fact]
    public async Task AStopSignalsTheBodyFirstAndCancelsItOnlyWhenTheGraceIsOver()
    {
        var entered = new TaskCompletionSource();
        var told = new TaskCompletionSource();
        using var interrupt = new CancellationTokenSource();
        var executing = _pipeline
            .ExecuteAsync(
                Fire(interrupt.Cancel),
                async run =>
                {
                    run.Stopping.Register(told.SetResult);
                    entered.SetResult();
                    await Task.Delay(Timeout.InfiniteTimeSpan, TimeProvider.System, interrupt.Token);
                },
                interrupt.Token
            )
            .AsTask();
        await entered.Task;

        _pipeline.BeginStop();

        await told.Task.WaitAsync(Eventually.DefaultBound);
        Assert.False(interrupt.IsCancellationRequested);
        Assert.IsType<FireResult.Skipped>(await ExecuteAsync(_ => throw new InvalidOperationException("must not run")));
        _pipeline.CancelBodies();
        var interrupted = Assert.IsType<FireResult.Interrupted>(await executing.WaitAsync(Eventually.DefaultBound));
        Assert.Equal(CancelReason.Stop, interrupted.Reason);
    }

    [Fact]
    public async Task AnInterruptByAPersonIsAFailure()
    {
        using var interrupt = new CancellationTokenSource();

        var result = await _pipeline.ExecuteAsync(
            Fire(() => { }),
            _ =>
            {
                interrupt.Cancel();
                return ValueTask.CompletedTask;
            },
            interrupt.Token
        );

        Assert.IsType<FireResult.Failed>(result);
        Assert.Equal(RunOutcome.Failed, Assert.Single(_claims.Completions).Outcome);
    }

    [Fact]
    public async Task AFailureThatAsksForAnotherGoIsRecordedAsRetry()
    {
        var fire = Fire(() => { }) with { AsksForRetry = e => e is TimeoutException };

        var result = await _pipeline.ExecuteAsync(fire, _ => throw new TimeoutException("again"), CancellationToken.None);

        Assert.IsType<FireResult.Failed>(result);
        var completion = Assert.Single(_claims.Completions);
        Assert.Equal(RunOutcome.FailedWillRetry, completion.Outcome);
        Assert.NotNull(completion.NextAttemptAt);
    }

    [Fact]
    public async Task ACancelledAcquireIsNoExceptionOfTheFire()
    {
        using var cancelled = new CancellationTokenSource();
        await cancelled.CancelAsync();

        var result = await _pipeline.ExecuteAsync(
            Fire(() => { }),
            _ => throw new InvalidOperationException("must not run"),
            cancelled.Token
        );

        Assert.IsType<FireResult.Unavailable>(result);
    }

    [Fact]
    public async Task ALeaseThatWasLostDuringTheClaimRunsNoBody()
    {
        _claims.OnClaim = async _ =>
        {
            await _locks.RevokeAsync(Key);
            await Eventually.Holds(() => !_claims.Lease!.IsHeld);
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
        var completion = Assert.Single(_claims.Completions);
        Assert.Equal((RunOutcome.Interrupted, null), (completion.Outcome, completion.StartedAt));
    }

    [Fact]
    public async Task AClaimThatIsRefusedAsWrongReleasesTheLock()
    {
        _claims.OnClaim = _ => throw Wrong("the run is protected by another key");

        var result = await ExecuteAsync(_ => throw new InvalidOperationException("must not run"));

        Assert.Contains("another key", Assert.IsType<FireResult.Unavailable>(result).Reason);
        Assert.Null(await _locks.ReadAsync(Key));
    }

    [Fact]
    public async Task AnEndThatCannotBeRecordedAtAllIsGivenUpAndOthersGoOn()
    {
        _claims.OnComplete = _ => throw new StateUnavailableException("no answer");
        await ExecuteAsync(_ => ValueTask.CompletedTask);
        _claims.OnComplete = _ => throw Wrong("a defect");
        await Eventually.Holds(() => _pipeline.Unrecorded == 0);

        var tries = 0;
        _claims.OnComplete = _ =>
            Interlocked.Increment(ref tries) == 1 ? throw new StateUnavailableException("no answer") : ValueTask.FromResult(true);
        var other = Fire(() => { }) with { LockKey = LockKey.From("job:other") };
        Assert.IsType<FireResult.Succeeded>(await _pipeline.ExecuteAsync(other, _ => ValueTask.CompletedTask, CancellationToken.None));

        await Eventually.Holds(async () => await _locks.ReadAsync(other.LockKey) is null);
        Assert.Equal(0, _pipeline.Unrecorded);
    }

    [Fact]
    public async Task ALostLeaseOfAnotherLockIsAFailureOfTheBody()
    {
        var other = LockKey.From("somebody:else");

        var result = await ExecuteAsync(run => throw new LeaseLostException(other, run.Token, LossReason.StoreLost));

        Assert.IsType<FireResult.Failed>(result);
        Assert.Equal(RunOutcome.Failed, Assert.Single(_claims.Completions).Outcome);
    }

    [Fact]
    public async Task ALeaseThatIsLostDuringTheClaimRunsNoBody()
    {
        _claims.OnClaim = async _ =>
        {
            await _locks.RevokeAsync(Key);
            await Eventually.Holds(() => _locks.HeldCount == 0);
            return new ClaimAnswer.Claimed("run", 1);
        };

        var result = await ExecuteAsync(_ => throw new InvalidOperationException("must not run"));

        Assert.Equal(CancelReason.LeaseLost, Assert.IsType<FireResult.Interrupted>(result).Reason);
        Assert.Equal(RunOutcome.Interrupted, Assert.Single(_claims.Completions).Outcome);
    }

    [Fact]
    public async Task AFireOnItsWayToTheBodyWhenAStopBeginsCountsAsRunningAndIsCancelledAfterTheGrace()
    {
        var claiming = new TaskCompletionSource();
        var claim = new TaskCompletionSource<ClaimAnswer>();
        _claims.OnClaim = async _ =>
        {
            claiming.SetResult();
            return await claim.Task;
        };
        using var interrupt = new CancellationTokenSource();
        var executing = _pipeline
            .ExecuteAsync(
                Fire(interrupt.Cancel),
                async _ => await Task.Delay(Timeout.InfiniteTimeSpan, TimeProvider.System, interrupt.Token),
                interrupt.Token
            )
            .AsTask();
        await claiming.Task.WaitAsync(Eventually.DefaultBound);

        _pipeline.BeginStop();
        Assert.Equal(1, _pipeline.Running);
        _pipeline.CancelBodies();
        claim.SetResult(new ClaimAnswer.Claimed("run", 1));

        var interrupted = Assert.IsType<FireResult.Interrupted>(await executing.WaitAsync(Eventually.DefaultBound));
        Assert.Equal(CancelReason.Stop, interrupted.Reason);
        Assert.Equal(0, _pipeline.Running);
    }

    private static ArgumentException Wrong(string run) => new(run, nameof(run));

    private async Task<FireResult> LoseLeaseAsync(Action<IRun> then) =>
        await ExecuteAsync(async run =>
        {
            var lost = new TaskCompletionSource();
            run.Lost.Register(lost.SetResult);
            await _locks.RevokeAsync(Key);
            await lost.Task.WaitAsync(Eventually.DefaultBound);
            then(run);
        });

    private ValueTask<FireResult> ExecuteAsync(Func<IRun, ValueTask> body) =>
        _pipeline.ExecuteAsync(Fire(() => Interlocked.Increment(ref _cancelled)), body, CancellationToken.None);

    private static FireRequest Fire(Action cancel) =>
        new()
        {
            Occurrence = new Occurrence("test", "trigger", DateTimeOffset.UnixEpoch),
            LockKey = Key,
            Cancel = cancel,
        };

    private sealed class ScriptedClaims : IRunClaims
    {
        public ConcurrentQueue<FireRequest> Claims { get; } = new();

        public ConcurrentQueue<Completion> Completions { get; } = new();

        public Lease? Lease { get; private set; }

        public Func<FireRequest, ValueTask<ClaimAnswer>> OnClaim { get; set; } =
            _ => ValueTask.FromResult<ClaimAnswer>(new ClaimAnswer.Claimed("run", 1));

        public Func<Completion, ValueTask<bool>> OnComplete { get; set; } = _ => ValueTask.FromResult(true);

        public Func<ValueTask> OnResolve { get; set; } = () => ValueTask.CompletedTask;

        public ValueTask<ClaimAnswer> ClaimAsync(FireRequest fire, Lease lease, CancellationToken cancellationToken)
        {
            Claims.Enqueue(fire);
            Lease = lease;
            return OnClaim(fire);
        }

        public ValueTask<bool> CompleteAsync(ClaimAnswer.Claimed claim, Completion completion, CancellationToken cancellationToken)
        {
            Completions.Enqueue(completion);
            return OnComplete(completion);
        }

        public async ValueTask ResolveAsync(FireRequest fire, Lease lease, CancellationToken cancellationToken) => await OnResolve();
    }
}
