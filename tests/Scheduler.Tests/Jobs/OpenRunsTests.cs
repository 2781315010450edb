using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging.Abstractions;
using Quartz;
using Scheduler.Hosting;
using Scheduler.Jobs;
using Scheduler.Locking;
using Scheduler.Runs;
using Scheduler.Sqlite.State;
using Scheduler.Testing;
using Scheduler.Time;

namespace Scheduler.Tests.Jobs;

/// <summary>Very many runs that are open: nothing is hidden behind them, and there is a bound to what may be asked for.</summary>
public sealed class OpenRunsTests
{
    private const string Plain = nameof(PlainJob);
    private const int Many = 1_001;
    private static readonly DateTimeOffset Long = DateTimeOffset.FromUnixTimeSeconds(1_600_000_000);

    private static CancellationToken Stop => TestContext.Current.CancellationToken;

    [Fact]
    public async Task ADeadRunIsTakenOverAlthoughVeryManyOlderOnesAreOpen()
    {
        using var group = new Group(withState: true);
        await FillAsync(
            group,
            Many,
            async (runs, i) =>
            {
                var orphan = await RequestAsync(runs, $"gone{i % 2}", $"gone:{i}");
                Assert.True(await runs.OrphanAsync(orphan.Id, orphan.Token, Stop));
                await FailAsync(runs, await ClaimAsync(runs, Long.AddMinutes(i), $"later:{i}"));
            }
        );
        await using var replica = await Replica.StartAsync(group, Ledger.Durable<PlainJob>);

        var dead = await replica.ClaimAsDeadAsync(Plain);

        await Eventually.Holds(async () => await replica.StateOfAsync(dead) == RunState.Succeeded);
        var (run, _) = await replica.FindAsync(dead.Id);
        Assert.Equal((2, 1), (run.Attempt, run.Crashes));
        Assert.Equal(dead.Id, Assert.Single(group.Bodies.Ended).Run!.Id);
    }

    [Fact]
    public async Task WhatIsAskedForRunsAlthoughVeryManyWaitForAnotherKey()
    {
        using var group = new Group(withState: true);
        group.Bodies.Body = static (context, token) =>
            context.FindRun()!.LockKey.Value == "held" ? new ValueTask(Eventually.Cancelled(token)) : ValueTask.CompletedTask;
        await FillAsync(group, Many, (runs, i) => RequestAsync(runs, i % 2 == 0 ? Plain : nameof(DefaultJob), "held"));
        await using var replica = await StartAsync(group);
        await Eventually.Holds(() => !group.Bodies.Events.IsEmpty);

        var asked = await replica.State!.CallAsync((s, _) => new ValueTask<RunRecord>(RequestAsync(s.Runs, Plain, "free")), Stop);

        await Eventually.Holds(async () => await replica.StateOfAsync(asked) == RunState.Succeeded);
        Assert.Equal(asked.Id, Assert.Single(group.Bodies.Ended).Run!.Id);
    }

    [Fact]
    public async Task MoreThanTheBoundIsRefusedWithWhatHelps()
    {
        using var group = new Group(withState: true);
        group.Bodies.Body = static (_, token) => new ValueTask(Eventually.Cancelled(token));
        await FillAsync(group, IRunLedger.MostRequested, (runs, _) => RequestAsync(runs, Plain, $"job:{Plain}"));
        await using var replica = await StartAsync(group);

        var requests = replica.Services.GetRequiredService<RunRequests>();
        var refused = Assert.IsType<RunRequestAnswer.TooMany>(await requests.RequestAsync(Plain, null, "key", Stop));
        await (await replica.SchedulerAsync()).TriggerJob(new JobKey(Plain));

        Assert.Contains($"'{Plain}' has 1000 runs", refused.Reason, StringComparison.Ordinal);
        await Eventually.Holds(() =>
            replica.Fires.Ended.Any(e => e.Error?.ToString().Contains(refused.Reason, StringComparison.Ordinal) == true)
        );
        var page = await replica.State!.CallAsync((s, t) => s.Runs.ListAsync(new RunQuery(Limit: 1_000), t), Stop);
        Assert.Equal((1_000, null), (page.Items.Count, page.Next));
    }

    // What runs does not end by itself, so the stop does not wait for it.
    private static Task<Replica> StartAsync(Group group) =>
        Replica.StartAsync(
            group,
            quartz =>
            {
                Ledger.Durable<PlainJob>(quartz);
                Ledger.Durable<DefaultJob>(quartz);
            },
            l => l.Options.StopGrace = TimeSpan.Zero
        );

    // Before there is a replica that would go on with any of it.
    private static async Task FillAsync(Group group, int count, Func<IRunLedger, int, Task> write)
    {
        var context = new BackendContext(
            group.Name,
            ReplicaIdentity.Create("writer"),
            new LeaseOptions(),
            BootTimeProvider.Instance,
            NullLoggerFactory.Instance
        );
        await using var state = new SqliteState(context, $"Data Source={group.StateFile}");
        await state.OpenAsync(Stop);
        for (var begin = 0; begin < count; begin += 50)
        {
            await Task.WhenAll(Enumerable.Range(begin, Math.Min(50, count - begin)).Select(i => write(state.Runs, i)));
        }
    }

    private static async Task<RunRecord> RequestAsync(IRunLedger runs, string job, string key) =>
        Assert.IsType<RequestResult.Recorded>(await runs.RequestAsync(new RunRequest(job, LockKey.From(key), null, Long), Stop)).Run;

    private static async Task<RunRecord> ClaimAsync(IRunLedger runs, DateTimeOffset at, string key)
    {
        var request = new ClaimRequest
        {
            Occurrence = new Occurrence(Plain, "t", at),
            LockKey = LockKey.From(key),
            Token = FencingToken.Compose(0, 5),
            Replica = "dead-00000000",
            Now = at,
        };
        return Assert.IsType<ClaimResult.Claimed>(await runs.ClaimAsync(request, Stop)).Run;
    }

    private static async Task FailAsync(IRunLedger runs, RunRecord run)
    {
        var failed = new Completion
        {
            RunId = run.Id,
            Attempt = run.Attempt,
            Token = run.Token,
            Outcome = RunOutcome.FailedWillRetry,
            Now = run.ScheduledAt,
            NextAttemptAt = TimeProvider.System.GetUtcNow().AddHours(1),
        };
        Assert.Equal(CompletionResult.Accepted, await runs.CompleteAsync(failed, Stop));
    }
}
