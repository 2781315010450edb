using Scheduler.Inbox;

namespace Scheduler.Tests.Conformance;

// Events that a replica takes as it stores them.
public abstract partial class StateConformance
{
    private static InboxTaking Taking => new("a", Hold, GoesOn: false);

    [Fact]
    public async Task An_event_is_taken_as_it_is_stored_and_comes_due_again_when_nothing_is_heard_of_it()
    {
        var arrival = Arrival("1", eventId: "msg_1") with { Taking = Taking };
        var answer = await AddAsync(arrival);
        Assert.Equal((InboxOutcome.Stored, InboxState.Processing), (answer.Outcome, answer.State));
        var taken = answer.Taken!;
        Assert.Equal((answer.Id, "a", 1, 1), (taken.Id, taken.Replica, taken.Attempts, taken.Counted));
        Assert.Equal((await _state.Inbox.FindAsync(answer.Id, Cancel))! with { ReceivedAt = taken.ReceivedAt }, taken);
        // A copy takes nothing.
        Assert.Equal(new InboxAnswer(InboxOutcome.Duplicate, answer.Id, InboxState.Processing), await AddAsync(arrival));

        Assert.Empty(await ClaimAsync());
        await _fixture.AgeAsync(Hold);
        var again = Assert.Single(await ClaimAsync());
        Assert.Equal((answer.Id, 2), (again.Event.Id, again.Event.Attempts));
        Assert.Equal(arrival.Body.ToArray(), again.Body);
        // The first attempt is not the newest any more.
        Assert.Equal([false], await _state.Inbox.FinishAsync([new InboxEnd(answer.Id, 1, InboxState.Done)], Cancel));
        Assert.Equal([true], await _state.Inbox.FinishAsync([new InboxEnd(answer.Id, 2, InboxState.Done)], Cancel));
    }

    [Fact]
    public async Task What_is_not_finished_keeps_the_next_of_its_order_from_being_taken_as_it_is_stored()
    {
        var first = await AddAsync(Arrival("1", type: "a") with { Taking = Taking });
        var second = await AddAsync(Arrival("1", type: "b") with { Taking = Taking });
        Assert.Equal((InboxState.Processing, InboxState.Received), (first.State, second.State));
        Assert.Empty(await ClaimAsync());
        Assert.Equal(InboxState.Processing, (await AddAsync(Arrival("2", type: "a") with { Taking = Taking })).State);

        await EndAsync(first, InboxState.Done);
        var claim = Assert.Single(await ClaimAsync());
        Assert.Equal(second.Id, claim.Event.Id);
        Assert.Equal(InboxState.Received, (await AddAsync(Arrival("1", type: "c") with { Taking = Taking })).State);
        await _state.Inbox.FinishAsync([new InboxEnd(second.Id, 1, InboxState.Failed, TimeSpan.FromHours(1))], Cancel);
        Assert.Equal(InboxState.Received, (await AddAsync(Arrival("1", type: "d") with { Taking = Taking })).State);
    }

    [Theory]
    [InlineData(false, InboxState.Received)]
    [InlineData(true, InboxState.Processing)]
    public async Task Behind_what_waits_for_a_person_an_event_is_taken_where_its_order_goes_on(bool goesOn, InboxState expected)
    {
        var taking = Taking with { GoesOn = goesOn };
        await EndAsync(await AddAsync(Arrival("1", type: "a") with { Taking = taking }), InboxState.Dead);
        var next = await AddAsync(Arrival("1", type: "b") with { Taking = taking });
        Assert.Equal(expected, next.State);

        await EndAsync(await AddAsync(Arrival("2", type: "a") with { Taking = taking }), InboxState.Done);
        await AddAsync(Arrival("2", type: "a", content: "other") with { Taking = taking });
        Assert.Equal(expected, (await AddAsync(Arrival("2", type: "b") with { Taking = taking })).State);
    }

    [Fact]
    public async Task Of_a_batch_the_first_of_an_order_is_taken_if_it_is_to_be_and_no_other()
    {
        var answers = await _state.Inbox.AddAsync(
            [
                Arrival("1", type: "a") with
                {
                    Taking = Taking,
                },
                Arrival("2", type: "a"),
                Arrival("1", type: "b") with
                {
                    Taking = Taking,
                },
                Arrival("2", type: "b") with
                {
                    Taking = Taking,
                },
                Arrival("3", type: "a") with
                {
                    Taking = Taking,
                    State = InboxState.Ignored,
                },
                Arrival("4", type: "a") with
                {
                    Taking = Taking,
                },
                Arrival("4", type: "a"),
            ],
            Cancel
        );
        Assert.Equal(
            [
                InboxState.Processing,
                InboxState.Received,
                InboxState.Received,
                InboxState.Received,
                InboxState.Ignored,
                InboxState.Processing,
                InboxState.Processing,
            ],
            answers.Select(a => a.State)
        );
        Assert.Equal([true, false, false, false, false, true, false], answers.Select(a => a.Taken is not null));
        Assert.Equal(InboxOutcome.Duplicate, answers[6].Outcome);
        // The first of the second order is left, and nothing passes it.
        Assert.Equal([answers[1].Id], (await ClaimAsync()).Select(c => c.Event.Id));
        foreach (var answer in (InboxAnswer[])[answers[0], answers[1]])
        {
            await EndAsync(answer, InboxState.Done);
        }
        Assert.Equal([answers[2].Id, answers[3].Id], (await ClaimAsync()).Select(c => c.Event.Id));
    }

    [Fact]
    public async Task Of_a_batch_with_a_known_event_id_all_are_stored_whoever_takes_them()
    {
        await AddAsync(Arrival("1", eventId: "msg_1", content: "a"));
        var answers = await _state.Inbox.AddAsync(
            [Arrival("2") with { Taking = Taking }, Arrival("3", eventId: "msg_1", content: "a") with { Taking = Taking }],
            Cancel
        );
        Assert.Equal([InboxOutcome.Stored, InboxOutcome.Duplicate], answers.Select(a => a.Outcome));
        Assert.Equal(answers[0].Taken is not null, answers[0].State == InboxState.Processing);
        Assert.Equal(answers[0].State, (await _state.Inbox.FindAsync(answers[0].Id, Cancel))!.State);
    }

    private async Task EndAsync(InboxAnswer answer, InboxState state) =>
        Assert.Equal([true], await _state.Inbox.FinishAsync([new InboxEnd(answer.Id, 1, state)], Cancel));
}
