using System.Collections.Concurrent;
using Scheduler.Inbox;
using Scheduler.Runs;

namespace Scheduler.Tests.Conformance;

// Whose turn it is in an order of events.
public abstract partial class StateConformance
{
    [Fact]
    public async Task Events_of_types_that_a_replica_has_no_handler_for_are_left_to_others()
    {
        await _state.Inbox.AddAsync(
            [Arrival("1", type: "new"), Arrival("1", type: "a"), Arrival("2", type: "b"), Arrival("3", type: "a") with { Type = null }],
            Cancel
        );
        // The first of order 1 is for another build, and the second of it waits.
        Assert.Equal(["2", "3"], (await ClaimAsync()).Select(c => c.Event.OrderKey));
        Assert.Empty(await _state.Inbox.ClaimAsync(new("replica", [], 10, Hold), Cancel));
        var taken = Assert.Single(await _state.Inbox.ClaimAsync(new("new", [new("payments", "new", false)], 10, Hold), Cancel));
        Assert.Equal(("new:1", "new"), (taken.Event.DedupeKey, taken.Event.Replica));
        await FinishAsync(taken, InboxState.Done);
        Assert.Equal("a:1", Assert.Single(await ClaimAsync()).Event.DedupeKey);
    }

    [Fact]
    public async Task A_long_order_keeps_no_other_waiting_and_is_taken_one_after_another()
    {
        await _state.Inbox.AddAsync([.. Enumerable.Range(0, 500).Select(i => Arrival("long", $"{i}") with { Type = "a" })], Cancel);
        await _state.Inbox.AddAsync([.. Enumerable.Range(0, 500).Select(i => Arrival("long", $"{500 + i}") with { Type = "b" })], Cancel);
        await _state.Inbox.AddAsync([.. Enumerable.Range(0, 20).Select(i => Arrival($"other {i}", "a"))], Cancel);
        var taken = await ClaimAsync(limit: 10);
        Assert.Equal("0:long", taken[0].Event.DedupeKey);
        Assert.Equal(9, taken.Count(c => c.Event.OrderKey != "long"));
        Assert.Equal(11, (await ClaimAsync()).Count);
        var head = taken[0];
        for (var i = 1; i < 10; i++)
        {
            await FinishAsync(head, InboxState.Done);
            head = Assert.Single(await ClaimAsync());
            Assert.Equal($"{i}:long", head.Event.DedupeKey);
        }
        await FinishAsync(head, InboxState.Dead);
        Assert.Empty(await ClaimAsync());
        // What is behind a dead one is known for whom the order goes on.
        head = Assert.Single(await ClaimAsync(goOn: ["payments"]));
        Assert.Equal("10:long", head.Event.DedupeKey);
        await FinishAsync(head, InboxState.Done);
        Assert.Empty(await ClaimAsync());
        Assert.Equal("11:long", Assert.Single(await ClaimAsync(goOn: ["payments"])).Event.DedupeKey);
    }

    [Fact]
    public async Task No_event_is_passed_over_whatever_replicas_do_at_once()
    {
        const int Events = 240;
        IState[] states = [_state, await OpenAsync("a"), await OpenAsync("a")];
        var done = new ConcurrentQueue<string>();
        await Task.WhenAll(states.Select((state, n) => Task.Run(() => WorkAsync(state, n))));
        var left = (await ListAsync()).Where(e => e.State != InboxState.Done).Select(e => $"{e.DedupeKey} {e.State} {e.DueAt}");
        Assert.Empty(left);
        Assert.Equal(Events, done.Distinct(StringComparer.Ordinal).Count());

        async Task WorkAsync(IState state, int n)
        {
            // The same on every run, as far as the three do not meet.
            var random = new Random(4711 + n);
            for (var round = 0; done.Count < Events && round < 5_000; round++)
            {
                if (round < Events / 3)
                {
                    await state.Inbox.AddAsync([Arrival($"{random.Next(4)}", $"{n}.{round}") with { Type = "a" }], Cancel);
                }
                // Orders go on behind a dead one for one of the three.
                var claims = await state.Inbox.ClaimAsync(new($"r{n}", Kinds(goOn: n == 2), random.Next(1, 4), Hold), Cancel);
                foreach (var claim in claims)
                {
                    var end = random.Next(10) switch
                    {
                        < 2 => InboxState.Dead,
                        < 4 => InboxState.Failed,
                        _ => InboxState.Done,
                    };
                    Assert.Equal([true], await state.Inbox.FinishAsync([new(claim.Event.Id, claim.Event.Attempts, end)], Cancel));
                    if (end == InboxState.Done)
                    {
                        done.Enqueue(claim.Event.Id);
                    }
                    else if (end == InboxState.Dead)
                    {
                        await states[(n + 1) % 3].Inbox.ReplayAsync([claim.Event.Id], force: false, Cancel);
                    }
                }
            }
        }
    }
}
