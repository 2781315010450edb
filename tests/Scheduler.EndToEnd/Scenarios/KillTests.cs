using Scheduler.EndToEnd.Harness;
using Scheduler.Testing;
using Scheduler.Testing.History;

namespace Scheduler.EndToEnd.Scenarios;

/// <summary>A replica dies before its claim, in its body, at its completion and at any other moment; others go on with its run.</summary>
public sealed class KillTests : Scenario
{
    private const string Job = "work";
    private const string Trigger = "often";
    private const int Period = 3;
    private static readonly TimeSpan TakeOverBound = WorkerGroup.Lease + TimeSpan.FromSeconds(10);

    [Fact]
    public Task A_killed_replica_is_taken_over_wherever_it_was() => OnAllAsync(StartAsync, PlayAsync);

    private async Task<WorkerGroup> StartAsync(Backends backends)
    {
        var group = await GroupAsync(backends);
        group
            .WithTick(Job, Trigger, $"00:00:0{Period}", TimeSpan.FromMilliseconds(700))
            .WithTick("quick", "second", "* * * * * ?", TimeSpan.FromMilliseconds(1));
        await group.StartThreeAsync();
        return group;
    }

    private static async Task PlayAsync(WorkerGroup group)
    {
        var window = Window.Open();
        await window.UntilAsync(TimeSpan.Zero);

        await KillInBodyAsync(group);
        await ReplaceAsync(group, "d");
        await KillAtCompletionAsync(group);
        await ReplaceAsync(group, "e");
        await KillBeforeClaimAsync(group);
        await ReplaceAsync(group, "f");
        await KillAnywhereAsync(group, window);

        var until = window.Close();
        await group.AssertCleanAsync(
            [window.Every(Period, Job, Trigger, until, mayOverlap: true), window.Every(1, "quick", "second", until, mayOverlap: true)],
            TakeOverBound + TimeSpan.FromSeconds(30)
        );
    }

    // After its claim: the body has begun.
    private static async Task KillInBodyAsync(WorkerGroup group)
    {
        var begun = await NextAsync(group, BodyPhase.Begun);
        group.Of(begun.Replica).Kill9();

        await TakenOverAsync(group, begun);
    }

    // At its completion: the body has ended, and nobody can write that down.
    private static async Task KillAtCompletionAsync(WorkerGroup group)
    {
        for (var attempts = 1; ; attempts++)
        {
            var begun = await NextAsync(group, BodyPhase.Begun);
            await using var block = await group.Place.BlockStateAsync();
            if (DoneOf(group, begun) is not null)
            {
                // The block came after the end of this body; the next one begins when it is gone.
                Assert.True(attempts < 5, "The State file was never free while a body ran.");
                continue;
            }
            await Eventually.Holds(() => DoneOf(group, begun) is not null);
            group.Of(begun.Replica).Kill9();
            await group.Place.UntilGivenUpAsync();
            await block.DisposeAsync();
            await TakenOverAsync(group, DoneOf(group, begun)!);
            return;
        }
    }

    private static BodyRecord? DoneOf(WorkerGroup group, BodyRecord begun) =>
        group.Bodies.FirstOrDefault(b => b.Occurrence == begun.Occurrence && b.Attempt == begun.Attempt && b.Phase == BodyPhase.Done);

    // Before its claim: it holds the lock, and nobody can claim.
    private static async Task KillBeforeClaimAsync(WorkerGroup group)
    {
        // Shortly before it is due, and at a quiet moment: replicas that find State down before its fire do not even take the lock, and
        // what came due while State was blocked may still be run now.
        await Eventually.Holds(
            async () =>
                HostClock.Now is var now
                && now.ToUnixTimeSeconds() % Period == Period - 1
                && now.Millisecond is > 500 and < 700
                && await HolderAsync(group) is null,
            TakeOverBound
        );
        WorkerProcess holder;
        await using (await group.Place.BlockStateAsync())
        {
            string? replica = null;
            await Eventually.Holds(async () => (replica = await HolderAsync(group)) is not null, TimeSpan.FromSeconds(Period + 5));
            holder = group.Of(replica!);
            holder.Kill9();
            await group.Place.UntilGivenUpAsync();
        }
        var killed = holder.Faults[^1].From;

        await Eventually.Holds(() => group.Bodies.Any(b => b.Occurrence.Job == Job && b.Begin > killed), TakeOverBound);
    }

    // A replica at a time, at moments that a seed chooses, around the instants at which everything happens.
    private static async Task KillAnywhereAsync(WorkerGroup group, Window window)
    {
        const int Seed = 20260131;
#pragma warning disable CA5394 // Repeatable on purpose.
        var random = new Random(Seed);
        foreach (var next in (string[])["g", "h", "i"])
        {
            var second = TimeSpan.FromSeconds(Math.Ceiling((HostClock.Now - window.From).TotalSeconds));
            await window.UntilAsync(second + TimeSpan.FromMilliseconds(random.Next(0, 60)));
            group.Running[random.Next(group.Running.Count)].Kill9();
            await ReplaceAsync(group, next);
        }
#pragma warning restore CA5394
    }

    private static async Task ReplaceAsync(WorkerGroup group, string name) => await group.Start(name).UntilReadyAsync();

    private static async Task<BodyRecord> NextAsync(WorkerGroup group, BodyPhase phase)
    {
        var seen = group.Bodies.Count(b => b.Occurrence.Job == Job && b.Phase == phase);
        BodyRecord? next = null;
        await Eventually.Holds(
            () => (next = group.Bodies.Where(b => b.Occurrence.Job == Job && b.Phase == phase).Skip(seen).FirstOrDefault()) is not null,
            TakeOverBound + TimeSpan.FromSeconds(Period)
        );
        return next!;
    }

    private static async Task TakenOverAsync(WorkerGroup group, BodyRecord killed)
    {
        BodyRecord? next = null;
        await Eventually.Holds(
            () => (next = group.Bodies.FirstOrDefault(b => b.Occurrence == killed.Occurrence && b.Attempt > killed.Attempt)) is not null,
            TakeOverBound
        );
        Assert.NotEqual(killed.Replica, next!.Replica);
        Assert.True(next.Token > killed.Token, $"{next} took over from {killed} without a larger token.");
        var gap = next.Begin - group.Of(killed.Replica).Faults[^1].From;
        TestContext.Current.SendDiagnosticMessage($"taken over {gap.TotalMilliseconds:0} ms after the kill");
    }

    private static async Task<string?> HolderAsync(WorkerGroup group)
    {
        foreach (var item in (await group.Any.GetAsync($"/api/locks?prefix=job:{Job}")).GetProperty("items").EnumerateArray())
        {
            return item.GetProperty("holder").GetString();
        }
        return null;
    }
}
