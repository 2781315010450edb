using System.Collections.Concurrent;
using Microsoft.Extensions.DependencyInjection;
using Quartz;
using Scheduler.Jobs;
using Scheduler.Locking;
using Scheduler.Runs;
using Scheduler.Testing;

namespace Scheduler.Tests.Jobs;

/// <summary>What becomes of a run whose body fails.</summary>
public sealed class RetryTests
{
    private const string Job = "settle";
    private static readonly LockKey Key = LockKey.From($"job:{Job}");

    private readonly ConcurrentQueue<(int Attempt, string Replica)> _attempts = new();
    private int _failing;

    [Fact]
    public async Task A_failing_run_is_tried_again_under_a_free_key_and_only_failures_count()
    {
        using var group = NewGroup(failing: 2);
        await using var one = await StartAsync(group, attempts: 3, TimeSpan.FromMilliseconds(700));
        await using var two = await StartAsync(group, attempts: 3, TimeSpan.FromMilliseconds(700));

        var run = await RequestAsync(one);
        await Eventually.Holds(async () => (await one.StateOfAsync(run)) == RunState.Waiting && !_attempts.IsEmpty);
        // In between nothing is held.
        var waiting = (await one.FindAsync(run.Id)).Run;
        Assert.Null(await one.Locks.ReadAsync(Key));
        Assert.InRange((waiting.NextAttemptAt - waiting.FinishedAt)!.Value.TotalSeconds, 0.69, 0.71);

        await Eventually.Holds(async () => await one.StateOfAsync(run) == RunState.Succeeded);
        var (ended, attempts) = await one.FindAsync(run.Id);
        Assert.Equal((3, 2, 0), (ended.Attempt, ended.Failures, ended.Crashes));
        Assert.Equal(
            [RunOutcome.FailedWillRetry, RunOutcome.FailedWillRetry, RunOutcome.Succeeded],
            attempts.Select(a => a.Outcome!.Value)
        );
        Assert.All(
            attempts.Zip(attempts.Skip(1)),
            pair => Assert.True(pair.Second.StartedAt >= pair.First.EndedAt!.Value.AddMilliseconds(690))
        );
        Assert.True(attempts[0].Token < attempts[1].Token && attempts[1].Token < attempts[2].Token);
    }

    [Fact]
    public async Task Another_replica_takes_the_next_attempt_when_the_first_is_gone()
    {
        using var group = NewGroup(failing: 1);
        await using var one = await StartAsync(group, attempts: 2, TimeSpan.FromSeconds(2));
        var run = await RequestAsync(one);
        await Eventually.Holds(async () => _attempts.Count == 1 && await one.StateOfAsync(run) == RunState.Waiting);
        await using var two = await StartAsync(group, attempts: 2, TimeSpan.FromSeconds(2));
        await one.StopAsync();

        await Eventually.Holds(async () => await two.StateOfAsync(run) == RunState.Succeeded);

        Assert.Equal(2, _attempts.Select(a => a.Replica).Distinct(StringComparer.Ordinal).Count());
    }

    [Fact]
    public async Task After_the_last_failure_it_is_dead_and_a_person_can_run_it_again()
    {
        using var group = NewGroup(failing: 2);
        await using var replica = await StartAsync(group, attempts: 2, TimeSpan.Zero);
        var requests = replica.Services.GetRequiredService<RunRequests>();
        var run = await RequestAsync(replica);
        await Eventually.Holds(async () => await replica.StateOfAsync(run) == RunState.Dead);
        var dead = (await replica.FindAsync(run.Id)).Run;
        Assert.Equal((2, 2), (dead.Attempt, dead.Failures));
        Assert.Contains("the bank said no", dead.Error, StringComparison.Ordinal);
        Assert.Equal(1, group.Log.Count(1112));

        Assert.IsType<RunRequestAnswer.Accepted>(await requests.ReopenAsync(run.Id, CancellationToken.None));

        await Eventually.Holds(async () => await replica.StateOfAsync(run) == RunState.Succeeded);
        Assert.Equal(3, (await replica.FindAsync(run.Id)).Run.Attempt);
        Assert.IsType<RunRequestAnswer.Refused>(await requests.ReopenAsync(run.Id, CancellationToken.None));
        Assert.IsType<RunRequestAnswer.UnknownRun>(await requests.ReopenAsync("none", CancellationToken.None));
    }

    [Fact]
    public async Task A_body_that_asks_for_another_go_at_once_is_bounded_by_its_attempts()
    {
        using var group = new Group(withState: true);
        group.Bodies.Body = (_, _) => throw new JobExecutionException("again") { RefireImmediately = true };
        await using var replica = await StartAsync(group, attempts: 3, TimeSpan.FromMinutes(5));

        var run = await RequestAsync(replica);

        await Eventually.Holds(async () => await replica.StateOfAsync(run) == RunState.Dead);
        Assert.Equal(3, (await replica.FindAsync(run.Id)).Run.Failures);
    }

    [Fact]
    public async Task Without_attempts_the_first_failure_is_final()
    {
        using var group = NewGroup(failing: 1);
        await using var replica = await StartAsync(group, attempts: null, TimeSpan.Zero);

        var run = await RequestAsync(replica);

        await Eventually.Holds(async () => await replica.StateOfAsync(run) == RunState.Failed);
        Assert.Equal((1, 1), ((await replica.FindAsync(run.Id)).Run.Attempt, _attempts.Count));
    }

    private Group NewGroup(int failing)
    {
        _failing = failing;
        var group = new Group(withState: true);
        group.Bodies.Body = (context, _) =>
        {
            var run = context.GetRun();
            _attempts.Enqueue((run.Attempt, run.Replica));
            return Interlocked.Decrement(ref _failing) >= 0
                ? throw new InvalidOperationException("the bank said no")
                : ValueTask.CompletedTask;
        };
        return group;
    }

    private static Task<Replica> StartAsync(Group group, int? attempts, TimeSpan delay) =>
        Replica.StartAsync(
            group,
            configure: l =>
                l.AddJob(
                    new JobDefinition(Job, typeof(DefaultJob), [])
                    {
                        MaxAttempts = attempts,
                        RetryDelay = delay,
                        RetryJitter = 0,
                    }
                )
        );

    private static async Task<RunRecord> RequestAsync(Replica replica)
    {
        var requests = replica.Services.GetRequiredService<RunRequests>();
        return Assert.IsType<RunRequestAnswer.Accepted>(await requests.RequestAsync(Job, null, null, CancellationToken.None)).Run;
    }
}
