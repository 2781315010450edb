using Scheduler.EndToEnd.Harness;
using Scheduler.Testing;
using Scheduler.Testing.History;

namespace Scheduler.EndToEnd.Scenarios;

/// <summary>A replica stands still for much longer than its lease, and wakes in the belief that nothing has happened.</summary>
[Collection(Alone.Name)]
public sealed class FreezeTests : Scenario
{
    private const string Job = "entry";
    private const string Listener = "listener";
    private const string Trigger = "often";
    private static readonly TimeSpan Frozen = TimeSpan.FromSeconds(30);

    // A take-over, or the rest of a long body and the begin of the next one.
    private static readonly TimeSpan Bound = WorkerGroup.Lease + TimeSpan.FromSeconds(20);

    [Fact]
    public Task A_frozen_holder_is_taken_over_and_told_and_its_write_refused_and_its_late_fires_double_nothing() =>
        OnAllAsync(StartAsync, PlayAsync);

    private async Task<WorkerGroup> StartAsync(Backends backends)
    {
        var group = await GroupAsync(backends);
        group
            .WithTick(Job, Trigger, "00:00:05", TimeSpan.FromSeconds(1), ("ignoreCancellation", "true"), ("entries", EntriesOf(group)))
            .WithTick(Listener, Trigger, "00:00:10", TimeSpan.FromSeconds(9))
            .WithTick("quickCron", "second", "* * * * * ?", TimeSpan.FromMilliseconds(1))
            .WithTick("quickGrid", "second", "00:00:01", TimeSpan.FromMilliseconds(1));
        await group.StartThreeAsync();
        return group;
    }

    private static async Task PlayAsync(WorkerGroup group)
    {
        var window = Window.Open();
        await window.UntilAsync(TimeSpan.Zero);
        var entries = EntriesOf(group);

        var begun = await NextAsync(group, Job, b => b.Phase == BodyPhase.Begun);
        var holder = group.Of(begun.Replica);
        await group.FreezeBetweenWritesAsync(holder);
        var frozenAt = HostClock.Boot;
        var next = await FindAsync(group, Job, b => b.Occurrence == begun.Occurrence && b.Phase == BodyPhase.Done);
        Assert.True(next.Token > begun.Token, $"{next} took over from {begun} without a larger token.");
        Assert.NotEqual(begun.Replica, next.Replica);
        await FreezeListenerAsync(group, holder);
        await Eventually.Holds(() => HostClock.Boot - frozenAt >= Frozen, Frozen + TimeSpan.FromSeconds(10));
        holder.Thaw();

        // It does not listen, so the resource has to refuse it.
        var refused = await FindAsync(group, Job, b => b.Replica == begun.Replica && b.Phase == BodyPhase.Refused);
        Assert.Equal(begun.Token, refused.Token);
        var occurrence = begun.Occurrence.ToString();
        Assert.Equal(1, await EmbeddedFile.NumberAsync(entries, $"SELECT COUNT(*) FROM entries WHERE occurrence = '{occurrence}'"));
        Assert.Equal(next.Token, await EmbeddedFile.NumberAsync(entries, $"SELECT token FROM entries WHERE occurrence = '{occurrence}'"));
        await holder.UntilReadyAsync();

        // It works on like the others: a lap of the quick jobs after the thaw belongs to the judged time.
        await window.UntilAsync(HostClock.Now - window.From + TimeSpan.FromSeconds(3));
        var until = window.Close();
        await group.AssertCleanAsync([
            window.Every(5, Job, Trigger, until, mayOverlap: true),
            window.Every(10, Listener, Trigger, until, mayOverlap: true),
            window.Every(1, "quickCron", "second", until, mayOverlap: true),
            window.Every(1, "quickGrid", "second", until, mayOverlap: true),
        ]);
        // In the order of writing tokens never fall: whoever wrote was the newest holder that the resource knew.
        const string Fallen = "SELECT COUNT(*) FROM entries a JOIN entries b ON b.rowid > a.rowid AND b.token < a.token";
        Assert.Equal(0, await EmbeddedFile.NumberAsync(entries, Fallen));
    }

    private static string EntriesOf(WorkerGroup group) => Path.Combine(group.Folder, "entries.db");

    // A body that listens wakes after its lease, while its successor works: its token fires at once.
    private static async Task FreezeListenerAsync(WorkerGroup group, WorkerProcess alreadyFrozen)
    {
        BodyRecord begun;
        do
        {
            begun = await NextAsync(group, Listener, b => b.Phase == BodyPhase.Begun);
        } while (group.Of(begun.Replica) == alreadyFrozen);
        var worker = group.Of(begun.Replica);
        await group.FreezeBetweenWritesAsync(worker);
        var next = await FindAsync(group, Listener, b => b.Occurrence == begun.Occurrence && b.Token > begun.Token);
        Assert.NotEqual(begun.Replica, next.Replica);
        worker.Thaw();
        var thawed = worker.Faults[^1].Until!.Value;

        var cancelled = await FindAsync(group, Listener, b => b.Token == begun.Token && b.Phase == BodyPhase.Cancelled);
        Assert.InRange(cancelled.End!.Value, thawed, thawed + TimeSpan.FromSeconds(1));
    }

    private static Task<BodyRecord> NextAsync(WorkerGroup group, string job, Func<BodyRecord, bool> which)
    {
        var seen = group.Bodies.Count(b => b.Occurrence.Job == job && which(b));
        return FindAsync(group, job, which, seen);
    }

    private static async Task<BodyRecord> FindAsync(WorkerGroup group, string job, Func<BodyRecord, bool> which, int skip = 0)
    {
        BodyRecord? found = null;
        await Eventually.Holds(
            () => (found = group.Bodies.Where(b => b.Occurrence.Job == job && which(b)).Skip(skip).FirstOrDefault()) is not null,
            Bound
        );
        return found!;
    }
}
