using Scheduler.Leases;
using Scheduler.Locking;
using Scheduler.Runs;
using Scheduler.Testing;

namespace Scheduler.Tests.Runs;

/// <summary>What becomes of a body: its token, its result, and a stop.</summary>
public sealed class PipelineVerdictTests : PipelineFixture
{
    [Fact]
    public async Task ARevokedLeaseCancelsTheBodyAndTheRunIsInterrupted()
    {
        var entered = new TaskCompletionSource();
        using var interrupt = new CancellationTokenSource();
        var executing = Pipeline
            .ExecuteAsync(
                Fire(interrupt.Cancel),
                async run =>
                {
                    entered.SetResult();
                    await Eventually.Cancelled(interrupt.Token);
                },
                interrupt.Token
            )
            .AsTask();
        await entered.Task;

        await Locks.RevokeAsync(Key);

        var interrupted = Assert.IsType<FireResult.Interrupted>(await executing.WaitAsync(Eventually.DefaultBound));
        Assert.Equal(CancelReason.LeaseLost, interrupted.Reason);
        Assert.Equal(RunOutcome.Interrupted, Assert.Single(Claims.Completions).Outcome);
    }

    [Fact]
    public async Task ABodyThatReturnsNormallyAfterItsTokenFiredIsInterrupted()
    {
        var result = await LoseLeaseAsync(_ => { });

        Assert.IsType<FireResult.Interrupted>(result);
        Assert.Equal(RunOutcome.Interrupted, Assert.Single(Claims.Completions).Outcome);
    }

    [Fact]
    public async Task ABodyThatSaysCompleteAfterItsTokenFiredCountsAsSucceeded()
    {
        var result = await LoseLeaseAsync(run => run.Complete());

        Assert.IsType<FireResult.Succeeded>(result);
        Assert.Equal(RunOutcome.Succeeded, Assert.Single(Claims.Completions).Outcome);
    }

    [Fact]
    public async Task AStopSignalsTheBodyFirstAndCancelsItOnlyWhenTheGraceIsOver()
    {
        var entered = new TaskCompletionSource();
        var told = new TaskCompletionSource();
        using var interrupt = new CancellationTokenSource();
        var executing = Pipeline
            .ExecuteAsync(
                Fire(interrupt.Cancel),
                async run =>
                {
                    run.Stopping.Register(told.SetResult);
                    entered.SetResult();
                    await Eventually.Cancelled(interrupt.Token);
                },
                interrupt.Token
            )
            .AsTask();
        await entered.Task;

        Pipeline.BeginStop();

        await told.Task.WaitAsync(Eventually.DefaultBound);
        Assert.False(interrupt.IsCancellationRequested);
        Assert.IsType<FireResult.Skipped>(await ExecuteAsync(_ => throw new InvalidOperationException("must not run")));
        Pipeline.CancelBodies();
        var interrupted = Assert.IsType<FireResult.Interrupted>(await executing.WaitAsync(Eventually.DefaultBound));
        Assert.Equal(CancelReason.Stop, interrupted.Reason);
    }

    [Fact]
    public async Task AnInterruptByAPersonIsAFailure()
    {
        using var interrupt = new CancellationTokenSource();

        var result = await Pipeline.ExecuteAsync(
            Fire(() => { }),
            _ =>
            {
                interrupt.Cancel();
                return ValueTask.CompletedTask;
            },
            interrupt.Token
        );

        Assert.IsType<FireResult.Failed>(result);
        Assert.Equal(RunOutcome.Failed, Assert.Single(Claims.Completions).Outcome);
    }

    [Fact]
    public async Task AFailureThatAsksForAnotherGoIsRecordedAsRetry()
    {
        var fire = Fire(() => { }) with { AsksForRetry = e => e is TimeoutException };

        var result = await Pipeline.ExecuteAsync(fire, _ => throw new TimeoutException("again"), CancellationToken.None);

        Assert.IsType<FireResult.Failed>(result);
        var completion = Assert.Single(Claims.Completions);
        Assert.Equal(RunOutcome.FailedWillRetry, completion.Outcome);
        Assert.NotNull(completion.NextAttemptAt);
    }

    [Theory]
    [InlineData(0, RunOutcome.FailedWillRetry, false)]
    [InlineData(1, RunOutcome.FailedWillRetry, false)]
    [InlineData(2, RunOutcome.Failed, true)]
    public async Task A_failure_is_tried_again_until_the_attempts_are_used_up(int before, RunOutcome outcome, bool isLast)
    {
        Claims.OnClaim = _ => ValueTask.FromResult<ClaimAnswer>(new ClaimAnswer.Claimed("run", 7, before));
        var fire = Fire(() => { }) with
        {
            Retry = new RetryRule
            {
                MaxAttempts = 3,
                Delay = TimeSpan.FromMinutes(1),
                Jitter = 0,
            },
        };

        await Pipeline.ExecuteAsync(fire, _ => throw new TimeoutException("no"), CancellationToken.None);

        var completion = Assert.Single(Claims.Completions);
        Assert.Equal((outcome, isLast), (completion.Outcome, completion.IsLastAttempt));
        Assert.Equal(isLast ? null : completion.Now.AddMinutes(1), completion.NextAttemptAt);
    }

    [Fact]
    public async Task ALostLeaseOfAnotherLockIsAFailureOfTheBody()
    {
        var other = LockKey.From("somebody:else");

        var result = await ExecuteAsync(run => throw new LeaseLostException(other, run.Token, LossReason.StoreLost));

        Assert.IsType<FireResult.Failed>(result);
        Assert.Equal(RunOutcome.Failed, Assert.Single(Claims.Completions).Outcome);
    }

    [Fact]
    public async Task AFireOnItsWayToTheBodyWhenAStopBeginsCountsAsRunningAndIsCancelledAfterTheGrace()
    {
        var claiming = new TaskCompletionSource();
        var claim = new TaskCompletionSource<ClaimAnswer>();
        Claims.OnClaim = async _ =>
        {
            claiming.SetResult();
            return await claim.Task;
        };
        using var interrupt = new CancellationTokenSource();
        var executing = Pipeline
            .ExecuteAsync(Fire(interrupt.Cancel), async _ => await Eventually.Cancelled(interrupt.Token), interrupt.Token)
            .AsTask();
        await claiming.Task.WaitAsync(Eventually.DefaultBound);

        Pipeline.BeginStop();
        Assert.Equal(1, Pipeline.Running);
        Pipeline.CancelBodies();
        claim.SetResult(new ClaimAnswer.Claimed("run", 1));

        var interrupted = Assert.IsType<FireResult.Interrupted>(await executing.WaitAsync(Eventually.DefaultBound));
        Assert.Equal(CancelReason.Stop, interrupted.Reason);
        Assert.Equal(0, Pipeline.Running);
    }
}
