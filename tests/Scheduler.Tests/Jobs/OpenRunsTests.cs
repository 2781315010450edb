using Microsoft.Extensions.DependencyInjection;
using Quartz;
using Scheduler.Jobs;
using Scheduler.Leases;
using Scheduler.Locking;
using Scheduler.Runs;
using Scheduler.Testing;

namespace Scheduler.Tests.Jobs;

/// <summary>Very many runs that are open: nothing is hidden behind them, and there is a bound to what may be asked for.</summary>
public sealed class OpenRunsTests
{
    private const string Plain = nameof(PlainJob);
    private const int Many = 1_001;
    private static readonly DateTimeOffset Long = DateTimeOffset.FromUnixTimeSeconds(1_600_000_000);

    [Fact]
    public async Task ADeadRunIsTakenOverAlthoughVeryManyOlderOnesAreOpen()
    {
        using var group = new Group(withState: true);
        await using var replica = await Replica.StartAsync(group, Ledger.Durable<PlainJob>);
        for (var i = 0; i < Many; i++)
        {
            var orphan = await replica.RequestAsync($"gone{i % 2}", $"gone:{i}");
            await replica.State!.CallAsync((s, t) => s.Runs.OrphanAsync(orphan.Id, orphan.Token, t), CancellationToken.None);
            await FailAsync(replica, await replica.ClaimAsDeadAsync(Plain, Long.AddMinutes(i), key: $"later:{i}"));
        }

        var dead = await replica.ClaimAsDeadAsync(Plain);

        await Eventually.Holds(async () => await replica.StateOfAsync(dead) == RunState.Succeeded);
        Assert.Equal((2, 1), ((await replica.FindAsync(dead.Id)).Run.Attempt, (await replica.FindAsync(dead.Id)).Run.Crashes));
        Assert.Equal(dead.Id, Assert.Single(group.Bodies.Ended).Run!.Id);
    }

    [Fact]
    public async Task WhatIsAskedForRunsAlthoughVeryManyWaitForAnotherKey()
    {
        using var group = new Group(withState: true);
        await using var replica = await Replica.StartAsync(group, Ledger.Durable<PlainJob>);
        var held = await replica.Locks.TryAcquireAsync(LockKey.From("held"), "a person", null, CancellationToken.None);
        await using var lease = Assert.IsType<LockAttempt.Granted>(held).Lease;
        for (var i = 0; i < Many; i++)
        {
            await replica.RequestAsync($"other{i % 2}", "held");
        }

        var asked = await replica.RequestAsync(Plain, "free");

        await Eventually.Holds(async () => await replica.StateOfAsync(asked) == RunState.Succeeded);
        Assert.Single(group.Bodies.Ended);
    }

    [Fact]
    public async Task MoreThanTheBoundIsRefusedWithWhatHelps()
    {
        using var group = new Group(withState: true);
        await using var replica = await Replica.StartAsync(group, Ledger.Durable<PlainJob>);
        var held = await replica.Locks.TryAcquireAsync(LockKey.From($"job:{Plain}"), "a person", null, CancellationToken.None);
        await using var lease = Assert.IsType<LockAttempt.Granted>(held).Lease;
        for (var i = 0; i < IRunLedger.MostRequested; i++)
        {
            await replica.RequestAsync(Plain, $"job:{Plain}");
        }

        var requests = replica.Services.GetRequiredService<RunRequests>();
        var refused = Assert.IsType<RunRequestAnswer.TooMany>(await requests.RequestAsync(Plain, null, "key", CancellationToken.None));
        await (await replica.SchedulerAsync()).TriggerJob(new JobKey(Plain));

        Assert.Contains($"'{Plain}' has 1000 runs", refused.Reason, StringComparison.Ordinal);
        await Eventually.Holds(() =>
            replica.Fires.Ended.Any(e => e.Error?.ToString().Contains(refused.Reason, StringComparison.Ordinal) == true)
        );
        Assert.Equal(1_000, (await replica.RunsAsync()).Count);
        Assert.Null(
            (await replica.State!.CallAsync((s, t) => s.Runs.ListAsync(new RunQuery(Limit: 1_000), t), CancellationToken.None)).Next
        );
    }

    private static async Task FailAsync(Replica replica, RunRecord run)
    {
        var later = TimeProvider.System.GetUtcNow().AddHours(1);
        var failed = new Completion
        {
            RunId = run.Id,
            Attempt = run.Attempt,
            Token = run.Token,
            Outcome = RunOutcome.FailedWillRetry,
            Now = run.ScheduledAt,
            NextAttemptAt = later,
        };
        var result = await replica.State!.CallAsync((s, t) => s.Runs.CompleteAsync(failed, t), CancellationToken.None);
        Assert.Equal(CompletionResult.Accepted, result);
    }
}
