using System.Text;
using Scheduler.Inbox;

namespace Scheduler.Tests.Conformance;

// What keeps the inbox small, and the ways out of being set aside.
public abstract partial class StateConformance
{
    private DateTimeOffset Later => _fixture.StateClock.AddMinutes(1);

    [Fact]
    public async Task Bodies_of_what_finished_long_ago_are_dropped_and_keys_and_outcomes_stay()
    {
        var first = Arrival("1", eventId: "msg_1", content: "a");
        await _state.Inbox.AddAsync([first, Arrival("2"), Arrival("3"), Arrival("4") with { State = InboxState.Ignored }], Cancel);
        var taken = await ClaimAsync(limit: 2);
        await FinishAsync(taken[0], InboxState.Done);
        await FinishAsync(taken[1], InboxState.Done);

        Assert.Equal(0, await _state.Inbox.DropBodiesAsync(_fixture.StateClock.AddHours(-1), 10, Cancel));
        Assert.Equal(0, await (await OpenAsync("b")).Inbox.DropBodiesAsync(Later, 10, Cancel));
        Assert.Equal(1, await _state.Inbox.DropBodiesAsync(Later, 1, Cancel));
        Assert.Equal(2, await _state.Inbox.DropBodiesAsync(Later, 10, Cancel));
        Assert.Equal(0, await _state.Inbox.DropBodiesAsync(Later, 10, Cancel));

        var bare = (await _state.Inbox.ReadAsync(taken[0].Event.Id, Cancel))!;
        Assert.Equal((InboxState.Done, "payment.succeeded:1", false), (bare.Event.State, bare.Event.DedupeKey, bare.Event.HasBody));
        Assert.Null(bare.Body);
        Assert.Equal(first.Body.Length, bare.Event.BodyBytes);
        // Known still, by each of its keys, and what contradicts it is found.
        Assert.Equal((InboxOutcome.Duplicate, bare.Event.Id), Met(await AddAsync(first)));
        Assert.Equal((InboxOutcome.Duplicate, bare.Event.Id), Met(await AddAsync(Arrival("99", eventId: "msg_1", content: "a"))));
        Assert.Equal((InboxOutcome.Conflict, bare.Event.Id), Met(await AddAsync(Arrival("1", content: "b"))));
        // Nothing to process, so it is not replayed.
        Assert.Equal(0, await ReplayAsync(taken[0], force: true));

        var waits = Assert.Single(await ListAsync(), e => e.OrderKey == "3");
        Assert.True(waits.HasBody);
        Assert.Equal("{\"orderId\":3}", Encoding.UTF8.GetString(Assert.Single(await ClaimAsync()).Body));
    }

    [Fact]
    public async Task Bodies_of_events_that_are_dead_for_long_are_dropped_and_they_hold_their_orders_still()
    {
        await _state.Inbox.AddAsync([Arrival("1", type: "a"), Arrival("2") with { ReceivedAt = Noon.AddDays(1) }, Arrival("3")], Cancel);
        await AddAsync(Arrival("1", type: "b"));
        foreach (var claim in await ClaimAsync(limit: 2))
        {
            await FinishAsync(claim, InboxState.Dead, error: "broken");
        }
        var dead = (await ListAsync(InboxState.Dead)).Single(e => e.OrderKey == "1");

        Assert.Equal(0, await _state.Inbox.DropDeadBodiesAsync(Noon, 10, Cancel));
        Assert.Equal(0, await (await OpenAsync("b")).Inbox.DropDeadBodiesAsync(Noon.AddDays(2), 10, Cancel));
        Assert.Equal(1, await _state.Inbox.DropDeadBodiesAsync(Noon.AddHours(1), 10, Cancel));
        Assert.Equal(1, await _state.Inbox.DropDeadBodiesAsync(Noon.AddDays(2), 10, Cancel));
        Assert.Equal(0, await _state.Inbox.DropDeadBodiesAsync(Noon.AddDays(2), 10, Cancel));

        var bare = await FoundAsync(dead.Id);
        Assert.Equal((InboxState.Dead, false, "broken", "a:1"), (bare.State, bare.HasBody, bare.Error, bare.DedupeKey));
        Assert.Equal((InboxOutcome.Duplicate, dead.Id), Met(await AddAsync(Arrival("1", type: "a"))));
        // There is nothing to process, and what is behind it waits for a person still.
        Assert.Equal(0, await _state.Inbox.ReplayAsync([dead.Id], force: true, Cancel));
        Assert.Equal("3", Assert.Single(await ClaimAsync()).Event.OrderKey);
        Assert.Equal(1, await _state.Inbox.IgnoreAsync([dead.Id], Cancel));
        Assert.Equal("b:1", Assert.Single(await ClaimAsync()).Event.DedupeKey);
    }

    [Fact]
    public async Task A_finished_event_without_its_body_is_deleted_but_not_while_a_conflict_with_it_waits()
    {
        await _state.Inbox.AddAsync([Arrival("1"), Arrival("2", content: "a"), Arrival("3") with { Source = "others" }], Cancel);
        foreach (var claim in await _state.Inbox.ClaimAsync(new("replica", [.. Kinds(), .. Kinds("others")], 10, Hold), Cancel))
        {
            await FinishAsync(claim, InboxState.Done);
        }
        await AddAsync(Arrival("2", content: "b"));
        Assert.Equal(0, await _state.Inbox.DeleteAsync("payments", Later, 10, Cancel));
        Assert.Equal(3, await _state.Inbox.DropBodiesAsync(Later, 10, Cancel));
        Assert.Equal(0, await _state.Inbox.DeleteAsync("payments", _fixture.StateClock.AddHours(-1), 10, Cancel));
        Assert.Equal(1, await _state.Inbox.DeleteAsync("payments", Later, 10, Cancel));

        // Of the one that is gone the keys are new again; the one in question stays.
        Assert.Equal(InboxOutcome.Stored, (await AddAsync(Arrival("1"))).Outcome);
        Assert.Equal(InboxOutcome.Duplicate, (await AddAsync(Arrival("2", content: "b"))).Outcome);
        var conflict = Assert.Single(await ListAsync(InboxState.Conflict));
        await _state.Inbox.ResolveAsync(conflict.Id, accept: false, Cancel);
        Assert.Equal(1, await _state.Inbox.DropBodiesAsync(Later, 10, Cancel));
        Assert.Equal(2, await _state.Inbox.DeleteAsync("payments", Later, 10, Cancel));
        Assert.Equal(InboxOutcome.Stored, (await AddAsync(Arrival("2", content: "a"))).Outcome);
        Assert.Equal(InboxOutcome.Conflict, (await AddAsync(Arrival("2", content: "b"))).Outcome);
        Assert.Equal("3", Assert.Single(await ListAsync(), e => e.Source == "others").OrderKey);
    }

    [Fact]
    public async Task Upkeep_goes_on_over_more_than_one_step()
    {
        for (var i = 0; i < 3; i++)
        {
            var offset = i * 300;
            await _state.Inbox.AddAsync(
                [.. Enumerable.Range(offset, 300).Select(n => Arrival($"{n}") with { State = InboxState.Ignored })],
                Cancel
            );
        }
        Assert.Equal(700, await _state.Inbox.DropBodiesAsync(Later, 700, Cancel));
        Assert.Equal(200, await _state.Inbox.DropBodiesAsync(Later, 10_000, Cancel));
        Assert.Equal(450, await _state.Inbox.DeleteAsync("payments", Later, 450, Cancel));
        Assert.Equal(450, await _state.Inbox.DeleteAsync("payments", Later, 10_000, Cancel));
        Assert.Empty(await ListAsync());
    }

    [Fact]
    public async Task Of_the_quarantined_events_of_a_source_only_the_newest_keep_their_body()
    {
        var ids = new List<string>();
        for (var i = 0; i < 5; i++)
        {
            ids.Add((await AddAsync(Unreadable($"{{{i}"))).Id);
        }
        var other = await AddAsync(Unreadable("{0") with { Source = "others" });
        Assert.Equal(1, await _state.Inbox.DropQuarantinedAsync("payments", 3, 1, Cancel));
        Assert.Equal(1, await _state.Inbox.DropQuarantinedAsync("payments", 3, 100, Cancel));
        Assert.Equal(0, await _state.Inbox.DropQuarantinedAsync("payments", 3, 100, Cancel));

        var dropped = await FoundAsync(ids[1]);
        Assert.Equal((InboxState.Ignored, false), (dropped.State, dropped.HasBody));
        Assert.Contains("3 newer ones", dropped.Error, StringComparison.Ordinal);
        Assert.EndsWith("no JSON", dropped.Error, StringComparison.Ordinal);
        Assert.Equal([.. ids[2..], other.Id], (await ListAsync(InboxState.Quarantined)).OrderBy(e => e.Number).Select(e => e.Id));
        Assert.Equal(new InboxAnswer(InboxOutcome.Duplicate, ids[0], InboxState.Ignored), await AddAsync(Unreadable("{0")));
    }

    [Fact]
    public async Task A_quarantined_event_is_received_under_the_keys_that_it_has_now()
    {
        var quarantined = await AddAsync(Unreadable("same"));
        var now = Arrival("7", eventId: "msg_7", content: "same") with { IsBodyUnique = true };
        Assert.Equal(default, await (await OpenAsync("b")).Inbox.ReceiveAsync(quarantined.Id, now, Cancel));
        Assert.Equal(default, await _state.Inbox.ReceiveAsync("no-such-id", now, Cancel));

        Assert.Equal(new InboxReceived(true, null), await _state.Inbox.ReceiveAsync(quarantined.Id, now, Cancel));
        var received = await FoundAsync(quarantined.Id);
        Assert.Equal((InboxState.Received, "payment.succeeded:7", "7"), (received.State, received.DedupeKey, received.OrderKey));
        Assert.Equal(("msg_7", "payment.succeeded", null), (received.EventId, received.Type, received.Error));
        // By body, event id or dedupe key it is known.
        Assert.Equal((InboxOutcome.Duplicate, received.Id), Met(await AddAsync(now)));
        Assert.Equal((InboxOutcome.Duplicate, received.Id), Met(await AddAsync(Unreadable("same"))));
        Assert.Equal((InboxOutcome.Conflict, received.Id), Met(await AddAsync(Arrival("8", eventId: "msg_7", content: "x"))));
        var claim = Assert.Single(await ClaimAsync());
        Assert.Equal((received.Id, "{"), (claim.Event.Id, Encoding.UTF8.GetString(claim.Body)));
        await FinishAsync(claim, InboxState.Done);
        Assert.Equal(default, await _state.Inbox.ReceiveAsync(received.Id, now, Cancel));
    }

    [Fact]
    public async Task An_event_whose_keys_another_one_has_is_not_received()
    {
        var first = await AddAsync(Arrival("1", eventId: "msg_1", content: "a"));
        var quarantined = await AddAsync(Unreadable("b"));
        InboxArrival[] taken = [Arrival("1", content: "b"), Arrival("2", eventId: "msg_1", content: "b")];
        foreach (var now in taken)
        {
            Assert.Equal(new InboxReceived(false, first.Id), await _state.Inbox.ReceiveAsync(quarantined.Id, now, Cancel));
        }
        Assert.Equal(InboxState.Quarantined, (await FoundAsync(quarantined.Id)).State);
        await Assert.ThrowsAsync<ArgumentException>(async () =>
            await _state.Inbox.ReceiveAsync(quarantined.Id, Arrival("2") with { State = InboxState.Ignored }, Cancel)
        );

        // Its own keys are not in its way.
        var ignored = await AddAsync(Arrival("3", eventId: "msg_3") with { State = InboxState.Ignored });
        Assert.Equal(new InboxReceived(true, null), await _state.Inbox.ReceiveAsync(ignored.Id, Arrival("3", eventId: "msg_3"), Cancel));
        Assert.Null((await FoundAsync(ignored.Id)).FinishedAt);

        // The first of two that contradict each other stands alone; and what has no body cannot be processed.
        await AddAsync(Arrival("1", content: "c"));
        var conflict = Assert.Single(await ListAsync(InboxState.Conflict));
        await _state.Inbox.ResolveAsync(conflict.Id, accept: false, Cancel);
        var again = Arrival("1", content: "c");
        Assert.Equal(new InboxReceived(false, first.Id), await _state.Inbox.ReceiveAsync(conflict.Id, again, Cancel));
        await _state.Inbox.DropBodiesAsync(Later, 10, Cancel);
        Assert.Equal(default, await _state.Inbox.ReceiveAsync(conflict.Id, Arrival("9", content: "c"), Cancel));
    }

    [Fact]
    public async Task What_no_signature_covers_is_shown_with_the_event()
    {
        var labels = new InboxLabels("72d3162e", "push");
        var (plain, labelled) = (Arrival("1"), Arrival("2", content: "a") with { Labels = labels });
        var answers = await _state.Inbox.AddAsync([labelled, plain, labelled with { Labels = new(null, "other") }], Cancel);
        Assert.Equal(InboxOutcome.Duplicate, answers[2].Outcome);
        await AddAsync(Arrival("2", content: "b") with { Labels = new(null, "contradicts") });

        Assert.Equal(labels, (await FoundAsync(answers[0].Id)).Labels);
        Assert.Null((await FoundAsync(answers[1].Id)).Labels);
        Assert.Equal(
            [new(null, "contradicts"), null, labels],
            (await ListAsync())
                .OrderBy(e =>
                    e.State == InboxState.Conflict ? 0
                    : e.OrderKey == "1" ? 1
                    : 2
                )
                .Select(e => e.Labels)
        );
        Assert.Equal(labels, (await _state.Inbox.ReadAsync(answers[0].Id, Cancel))!.Event.Labels);
        await Assert.ThrowsAsync<ArgumentException>(async () =>
            await _state.Inbox.AddAsync([plain with { Labels = new(new string('x', 201), null) }], Cancel)
        );
    }

    private static (InboxOutcome, string) Met(InboxAnswer answer) => (answer.Outcome, answer.Id);

    private static InboxArrival Unreadable(string content) =>
        Arrival("", content: content) with
        {
            State = InboxState.Quarantined,
            Type = null,
            DedupeKey = null,
            OrderKey = null,
            Body = Encoding.UTF8.GetBytes("{"),
            Reason = "no JSON",
        };
}
