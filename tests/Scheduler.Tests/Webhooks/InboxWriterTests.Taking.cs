using Scheduler.Inbox;
using Scheduler.Testing;

namespace Scheduler.Tests.Webhooks;

// What a processor takes as it is stored.
public sealed partial class InboxWriterTests
{
    [Fact]
    public async Task As_many_as_there_are_places_are_offered_and_places_that_are_not_used_are_given_back()
    {
        await _state.OpenAsync(CancellationToken.None);
        var (taker, stored) = (new Taker(3), 0);
        // Answered twice, as what is known before its group is.
        _inbox.AnswersEarly = true;
        await using var writer = new InboxWriter(_state, () => Interlocked.Increment(ref stored), taker);
        var first = await writer.AddAsync(Arrival(0) with { State = InboxState.Ignored });
        Assert.Equal((InboxState.Ignored, 3), (first.Answer.State, taker.Free));

        // Their commit is under way while the crowd comes.
        var commit = _inbox.Hold();
        Task[] ahead = [writer.AddAsync(Arrival(1)).AsTask(), writer.AddAsync(Arrival(2)).AsTask()];
        await Eventually.Holds(() => _inbox.Groups.Sum() == 3);
        Assert.Equal(1, taker.Free);
        var crowd = Enumerable.Range(3, 10).Select(i => writer.AddAsync(Arrival(i)).AsTask()).ToList();
        commit.SetResult();
        await Task.WhenAll([.. ahead, .. crowd]);

        Assert.Equal(3, taker.Taken.Count);
        Assert.Equal(new byte[10], taker.Taken.First().Body);
        Assert.Equal(3, crowd.Count(c => c.Result.Answer.Taken is not null) + 2);
        Assert.InRange(stored, 1, 2);
        Assert.Equal(0, taker.Free);
    }

    [Fact]
    public async Task Places_are_given_back_when_nothing_is_stored()
    {
        await _state.OpenAsync(CancellationToken.None);
        var taker = new Taker(2);
        await using var writer = new InboxWriter(_state, taker: taker);
        _inbox.Fails = true;
        Assert.NotNull((await writer.AddAsync(Arrival(0))).Refusal);
        Assert.NotNull((await writer.AddAsync(Arrival(1) with { Source = "wrong" })).Refusal);
        await Eventually.Holds(() => taker.Free == 2);
        Assert.Empty(taker.Taken);
    }

    [Fact]
    public async Task What_is_known_to_be_stored_only_after_its_call_was_given_up_is_not_taken()
    {
        await _state.OpenAsync(CancellationToken.None);
        var taker = new Taker(1);
        await using var writer = new InboxWriter(_state, taker: taker);
        _inbox.Fails = true;
        var answer = _inbox.AnswersLate();
        Assert.NotNull((await writer.AddAsync(Arrival(0))).Refusal);
        await Eventually.Holds(() => taker.Free == 1);
        answer();
        Assert.Equal((1, 0), (taker.Free, taker.Taken.Count));
    }
}
