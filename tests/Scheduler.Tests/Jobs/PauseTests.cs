using Microsoft.Extensions.DependencyInjection;
using Quartz;
using Scheduler.Jobs;
using Scheduler.Runs;
using Scheduler.Testing;

namespace Scheduler.Tests.Jobs;

/// <summary>Pausing and resuming the schedules of a job on the whole group.</summary>
public sealed class PauseTests
{
    private const string Job = nameof(PlainJob);

    [Fact]
    public async Task A_paused_job_begins_nothing_new_on_any_replica_and_what_came_due_meanwhile_is_not_missed()
    {
        using var group = new Group(withState: true);
        await using var one = await Replica.StartAsync(group, Ledger.EverySecond<PlainJob>);
        await using var two = await Replica.StartAsync(group, Ledger.EverySecond<PlainJob>);
        await Eventually.Holds(() => group.Bodies.Ended.Count >= 2);

        var begun = Assert.IsType<PauseAnswer.Done>(await Pauses(one).PauseAsync(Job, CancellationToken.None)).Pause!;
        await Eventually.Holds(() => Pauses(two).Find(Job) == begun);
        await Eventually.Holds(() => Skips(one, begun) > 0 && Skips(two, begun) >= 2);
        var seen = TimeProvider.System.GetUtcNow();
        await Eventually.Holds(() => TimeProvider.System.GetUtcNow() > seen.AddSeconds(3));
        var ended = Assert.IsType<PauseAnswer.Done>(await Pauses(two).ResumeAsync(Job, CancellationToken.None)).Pause!;

        // CatchUp is All: whatever was missed would run.
        var after = ended.Until!.Value;
        await Eventually.Holds(() => group.Bodies.Ended.Count(e => e.Scheduled > after) >= 4);
        var ran = group.Bodies.Ended.Select(e => e.Scheduled!.Value).Order().ToList();
        Assert.Equal(ran.Count, ran.Distinct().Count());
        Assert.DoesNotContain(ran, t => t > seen && t <= after);
        var behind = ran.Where(t => t > after).ToList();
        Assert.Equal(Enumerable.Range(0, behind.Count).Select(i => behind[0].AddSeconds(i)), behind);
        Assert.InRange(behind[0], after, after.AddSeconds(1));
    }

    [Fact]
    public async Task A_pause_outlives_all_replicas()
    {
        using var group = new Group(withState: true);
        await using (var first = await Replica.StartAsync(group, Ledger.EverySecond<PlainJob>))
        {
            await Eventually.Holds(() => group.Bodies.Ended.Count >= 1);
            await Pauses(first).PauseAsync(Job, CancellationToken.None);
        }
        group.Bodies.Events.Clear();

        await using var again = await Replica.StartAsync(group, Ledger.EverySecond<PlainJob>);
        await Eventually.Holds(() => Pauses(again).Find(Job) is not null);
        await Eventually.Holds(() => Skips(again, Pauses(again).Find(Job)!) >= 2);
        var resumed = Assert.IsType<PauseAnswer.Done>(await Pauses(again).ResumeAsync(Job, CancellationToken.None)).Pause!;

        await Eventually.Holds(() => group.Bodies.Ended.Count(e => e.Scheduled > resumed.Until) >= 2);
        Assert.DoesNotContain(group.Bodies.Ended, e => e.Scheduled > resumed.Since && e.Scheduled <= resumed.Until);
        Assert.Null(Assert.IsType<PauseAnswer.Done>(await Pauses(again).ResumeAsync(Job, CancellationToken.None)).Pause);
    }

    [Fact]
    public async Task What_has_begun_waits_or_was_asked_for_goes_on_and_a_new_request_is_refused()
    {
        using var group = new Group(withState: true);
        var leave = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        group.Bodies.Body = (_, token) => new ValueTask(leave.Task.WaitAsync(token));
        await using var replica = await Replica.StartAsync(group, Ledger.Durable<PlainJob>);
        var requests = replica.Services.GetRequiredService<RunRequests>();
        var running = Assert.IsType<RunRequestAnswer.Accepted>(await RequestAsync()).Run;
        var waiting = Assert.IsType<RunRequestAnswer.Accepted>(await RequestAsync()).Run;
        await Eventually.Holds(() => !group.Bodies.Events.IsEmpty);

        await Pauses(replica).PauseAsync(Job, CancellationToken.None);
        var refused = Assert.IsType<RunRequestAnswer.Paused>(await RequestAsync());
        leave.SetResult();

        Assert.Null(refused.Pause.Until);
        await Eventually.Holds(async () => await replica.StateOfAsync(running) == RunState.Succeeded);
        await Eventually.Holds(async () => await replica.StateOfAsync(waiting) == RunState.Succeeded);
        Assert.Equal(2, (await replica.RunsAsync()).Count);

        ValueTask<RunRequestAnswer> RequestAsync() => requests.RequestAsync(Job, null, null, CancellationToken.None);
    }

    [Fact]
    public async Task What_cannot_be_paused_is_refused_by_name()
    {
        using var group = new Group(withState: true);
        await using var replica = await Replica.StartAsync(
            group,
            q =>
            {
                Ledger.Durable<PlainJob>(q);
                Ledger.Durable<EverywhereJob>(q);
            }
        );

        var unknown = await Pauses(replica).PauseAsync("PlainJop", CancellationToken.None);
        var everywhere = await Pauses(replica).PauseAsync(nameof(EverywhereJob), CancellationToken.None);

        Assert.Contains(Job, Assert.IsType<PauseAnswer.UnknownJob>(unknown).Known);
        Assert.Contains("every replica", Assert.IsType<PauseAnswer.Refused>(everywhere).Reason, StringComparison.Ordinal);
    }

    private static PauseRequests Pauses(Replica replica) => replica.Services.GetRequiredService<PauseRequests>();

    private static int Skips(Replica replica, JobPause pause) =>
        replica.Fires.Ended.Count(e =>
            e.Context.ScheduledFireTimeUtc > pause.Since && e.Context.Result is JobRunReport { Summary: "the job is paused" }
        );
}
