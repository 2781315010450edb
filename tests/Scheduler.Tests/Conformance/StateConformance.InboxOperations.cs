using Scheduler.Inbox;

namespace Scheduler.Tests.Conformance;

// What people do with the events that senders delivered.
public abstract partial class StateConformance
{
    [Fact]
    public async Task A_person_may_let_a_dead_event_be_tried_again()
    {
        await AddAsync(Arrival("1"));
        var claim = Assert.Single(await ClaimAsync());
        Assert.Equal(0, await ReplayAsync(claim, force: true));
        await FinishAsync(claim, InboxState.Dead, error: "broken");

        Assert.Equal(0, await (await OpenAsync("b")).Inbox.ReplayAsync([claim.Event.Id, "no-such-id"], force: true, Cancel));
        Assert.Equal(1, await ReplayAsync(claim, force: false));
        var replayed = await FoundAsync(claim.Event.Id);
        Assert.Equal((InboxState.Received, 0), (replayed.State, replayed.Counted));
        var again = Assert.Single(await ClaimAsync());
        Assert.Equal((2, 1), (again.Event.Attempts, again.Event.Counted));
        await FinishAsync(again, InboxState.Failed, TimeSpan.FromHours(1), "broken");
        Assert.Equal(1, await ReplayAsync(claim, force: false));
        Assert.Equal(3, Assert.Single(await ClaimAsync()).Event.Attempts);
    }

    [Fact]
    public async Task A_done_event_is_replayed_only_with_force_and_holds_its_order_back_again()
    {
        await _state.Inbox.AddAsync([Arrival("1", type: "a"), Arrival("1", type: "b")], Cancel);
        var done = Assert.Single(await ClaimAsync());
        await FinishAsync(done, InboxState.Done);
        Assert.Equal(0, await ReplayAsync(done, force: false));
        Assert.NotNull((await FoundAsync(done.Event.Id)).FinishedAt);

        Assert.Equal(1, await ReplayAsync(done, force: true));
        var replayed = await FoundAsync(done.Event.Id);
        Assert.Equal((InboxState.Received, (DateTimeOffset?)null, 0), (replayed.State, replayed.FinishedAt, replayed.Counted));
        // The one behind it waits: it was not taken yet.
        var again = Assert.Single(await ClaimAsync());
        Assert.Equal((done.Event.Id, 2), (again.Event.Id, again.Event.Attempts));
    }

    [Fact]
    public async Task Many_events_are_replayed_at_once()
    {
        await _state.Inbox.AddAsync([.. Enumerable.Range(0, 6).Select(i => Arrival($"{i}"))], Cancel);
        var taken = await ClaimAsync();
        foreach (var (claim, state) in taken.Zip([InboxState.Dead, InboxState.Failed, InboxState.Done, InboxState.Dead, InboxState.Dead]))
        {
            await FinishAsync(claim, state, TimeSpan.FromHours(1));
        }
        // Of what was asked for one is done, one is processed still, and one is named twice.
        string[] ids = [.. taken.Take(3).Select(c => c.Event.Id), taken[5].Event.Id, taken[0].Event.Id];
        Assert.Equal(2, await _state.Inbox.ReplayAsync(ids, force: false, Cancel));
        Assert.Equal(["0", "1"], (await ClaimAsync()).Select(c => c.Event.OrderKey));
        await Assert.ThrowsAnyAsync<ArgumentException>(async () =>
            await _state.Inbox.ReplayAsync([.. Enumerable.Repeat("x", IInbox.MaxBatch + 1)], force: false, Cancel)
        );
    }

    [Fact]
    public async Task A_person_keeps_the_first_of_two_that_contradict_each_other_or_accepts_both()
    {
        await AddAsync(Arrival("1", content: "a"));
        await FinishAsync(Assert.Single(await ClaimAsync()), InboxState.Done);
        await AddAsync(Arrival("1", content: "b"));
        await AddAsync(Arrival("1", content: "c"));
        await AddAsync(Arrival("1", type: "later"));
        var conflicts = (await ListAsync(InboxState.Conflict)).OrderBy(e => e.Number).ToList();
        Assert.Empty(await ClaimAsync());

        var kept = await _state.Inbox.ResolveAsync(conflicts[0].Id, accept: false, Cancel);
        Assert.Equal((true, InboxState.Ignored), (kept.IsChanged, kept.Event!.State));
        Assert.False((await _state.Inbox.ResolveAsync(conflicts[0].Id, accept: true, Cancel)).IsChanged);
        Assert.Empty(await ClaimAsync());

        Assert.True((await _state.Inbox.ResolveAsync(conflicts[1].Id, accept: true, Cancel)).IsChanged);
        var accepted = Assert.Single(await ClaimAsync());
        Assert.Equal($"payment.succeeded:1~{conflicts[1].Id}", accepted.Event.DedupeKey);
        await FinishAsync(accepted, InboxState.Done);
        Assert.Equal("later:1", Assert.Single(await ClaimAsync()).Event.DedupeKey);
        // The same content again is known.
        Assert.Equal(InboxOutcome.Duplicate, (await AddAsync(Arrival("1", content: "c"))).Outcome);
        Assert.False((await _state.Inbox.ResolveAsync("no-such-id", accept: true, Cancel)).IsChanged);
    }

    [Fact]
    public async Task What_nobody_will_process_is_ignored_and_its_order_goes_on()
    {
        // Of three orders the first event is dead, failed and of a type that nobody handles any more.
        await _state.Inbox.AddAsync([Arrival("1", type: "a"), Arrival("2", type: "a"), Arrival("3", type: "removed")], Cancel);
        await _state.Inbox.AddAsync([Arrival("1", type: "b"), Arrival("2", type: "b"), Arrival("3", type: "b")], Cancel);
        await AddAsync(Unreadable("{"));
        var taken = await ClaimAsync();
        Assert.Equal(["1", "2"], taken.Select(c => c.Event.OrderKey));
        var quarantined = Assert.Single(await ListAsync(InboxState.Quarantined));
        string[] ids = [taken[0].Event.Id, taken[1].Event.Id, (await ListAsync()).Single(e => e.Type == "removed").Id, quarantined.Id];
        // Not while somebody works at it, and not another group's.
        Assert.Equal(2, await _state.Inbox.IgnoreAsync([.. ids, ids[3], "no-such-id"], Cancel));
        await FinishAsync(taken[0], InboxState.Dead, error: "broken");
        await FinishAsync(taken[1], InboxState.Failed, TimeSpan.FromHours(1), "broken");
        Assert.Equal("3", Assert.Single(await ClaimAsync()).Event.OrderKey);
        Assert.Equal(0, await (await OpenAsync("b")).Inbox.IgnoreAsync(ids, Cancel));

        Assert.Equal(2, await _state.Inbox.IgnoreAsync(ids, Cancel));

        Assert.Equal(["1", "2"], (await ClaimAsync()).Select(c => c.Event.OrderKey));
        foreach (var id in ids)
        {
            var ignored = await FoundAsync(id);
            Assert.Equal((InboxState.Ignored, true, true), (ignored.State, ignored.HasBody, ignored.FinishedAt is not null));
        }
        Assert.Equal(("broken", "no JSON"), ((await FoundAsync(ids[0])).Error, (await FoundAsync(ids[3])).Error));
        Assert.Equal((InboxOutcome.Duplicate, ids[0]), Met(await AddAsync(Arrival("1", type: "a"))));
        Assert.Equal(0, await _state.Inbox.IgnoreAsync(ids, Cancel));
    }

    [Fact]
    public async Task What_waits_is_counted_by_source_and_what_is_due_by_type()
    {
        await AddAsync(Arrival("1", type: "a"));
        await _state.Inbox.AddAsync([Arrival("2", type: "a"), Arrival("3", type: "a"), Arrival("4", type: "")], Cancel);
        await AddAsync(Arrival("1", type: "b"));
        await AddAsync(Arrival("9", type: "removed"));
        await AddAsync(Unreadable("{") with { Source = "others" });
        await (await OpenAsync("b")).Inbox.AddAsync([Arrival("1")], Cancel);
        var dead = (await ClaimAsync(limit: 1))[0];
        await FinishAsync(dead, InboxState.Dead);
        await AddAsync(Arrival(dead.Event.OrderKey!, type: "a", content: "other"));
        await _fixture.AgeAsync(TimeSpan.FromMinutes(7));

        var counts = await _state.Inbox.CountAsync(["others", "payments", "none"], Cancel);

        Assert.Equal(["others", "payments", "none"], counts.Select(c => c.Source));
        Assert.Equal([(0, 0, 0, 1), (5, 1, 1, 0), (0, 0, 0, 0)], counts.Select(c => (c.Waiting, c.Dead, c.Conflicts, c.Quarantined)));
        Assert.Empty(counts[0].Due);
        Assert.Equal([("", 1), ("a", 2), ("b", 1), ("removed", 1)], counts[1].Due.Select(d => (d.Type, d.Count)));
        Assert.All(counts[1].Due, d => Assert.InRange(d.Oldest, TimeSpan.FromMinutes(7), TimeSpan.FromMinutes(8)));
        // What is held back and what is taken is not due; it waits all the same.
        Assert.Equal(3, (await ClaimAsync()).Count);
        await _fixture.AgeAsync(TimeSpan.FromSeconds(1));
        counts = await _state.Inbox.CountAsync(["payments"], Cancel);
        Assert.Equal((5, "removed"), (counts[0].Waiting, Assert.Single(counts[0].Due).Type));
    }

    [Fact]
    public async Task Lists_show_what_was_asked_for_once_the_newest_first()
    {
        await (await OpenAsync("b")).Inbox.AddAsync([.. Enumerable.Range(0, 5).Select(i => Arrival($"{i}"))], Cancel);
        for (var i = 0; i < 12; i++)
        {
            var arrival = Arrival($"{i}", type: i % 3 == 0 ? "a" : "b") with { ReceivedAt = Noon.AddMinutes(i) };
            await AddAsync(i % 2 == 0 ? arrival : arrival with { Source = "others" });
        }
        var taken = await ClaimAsync();
        foreach (var claim in taken.Where(c => c.Event.Type == "a"))
        {
            await FinishAsync(claim, InboxState.Dead);
        }
        InboxQuery[] queries =
        [
            new(),
            new("payments"),
            new("others", InboxState.Received),
            new(State: InboxState.Dead),
            new("others", InboxState.Dead),
            new("payments", InboxState.Dead) { From = Noon.AddTicks(1), To = Noon.AddMinutes(6).AddTicks(1) },
            new()
            {
                Type = "a",
                From = Noon.AddMinutes(3),
                To = Noon.AddMinutes(9),
            },
            new() { Type = "none" },
            new(State: InboxState.Quarantined),
        ];
        int[] expected = [12, 6, 6, 2, 0, 1, 2, 0, 0];
        var all = (await _state.Inbox.ListAsync(new InboxQuery(Limit: 1_000), Cancel)).Items;
        foreach (var (query, count) in queries.Zip(expected))
        {
            var seen = new List<InboxEvent>();
            for (long? before = null; ; )
            {
                var page = await _state.Inbox.ListAsync(query with { Limit = 2, Before = before }, Cancel);
                Assert.True(page.Items.Count <= 2);
                seen.AddRange(page.Items);
                if ((before = page.Next) is null)
                {
                    break;
                }
            }
            var matching = all.Where(e =>
                (query.Source ?? e.Source) == e.Source
                && (query.State ?? e.State) == e.State
                && (query.Type ?? e.Type) == e.Type
                && !(e.ReceivedAt < query.From)
                && !(e.ReceivedAt >= query.To)
            );
            Assert.Equal(matching.Select(e => e.Id), seen.Select(e => e.Id));
            Assert.Equal(count, seen.Count);
        }
        await Assert.ThrowsAnyAsync<ArgumentException>(async () => await _state.Inbox.ListAsync(new InboxQuery(Limit: 1_001), Cancel));
    }

    private async Task<int> ReplayAsync(InboxClaim claim, bool force) => await _state.Inbox.ReplayAsync([claim.Event.Id], force, Cancel);

    private async Task<InboxEvent> FoundAsync(string id) => (await _state.Inbox.FindAsync(id, Cancel))!;
}
