using Scheduler.Inbox;
using Scheduler.Runs;
using Scheduler.Testing;

namespace Scheduler.Tests.Webhooks;

// What is taken as it is stored.
public sealed partial class EventProcessorTests
{
    private int _looks;
    private volatile bool _hasNoLooks;

    [Fact]
    public async Task What_is_stored_while_there_is_a_place_is_handled_without_a_look()
    {
        var one = await StartCaughtUpAsync();
        await using var writer = one.Writer();
        _hasNoLooks = true;
        // A look keeps one of the four places to itself.
        var receipts = await Task.WhenAll(Enumerable.Range(0, 3).Select(i => writer.AddAsync(Arrival($"{i}", "a")).AsTask()));

        Assert.All(receipts, r => Assert.Equal((InboxOutcome.Stored, InboxState.Processing), (r.Answer.Outcome, r.Answer.State)));
        foreach (var receipt in receipts)
        {
            await Eventually.Holds(async () => (await one.FindAsync(receipt.Answer.Id)).State == InboxState.Done);
            Assert.Equal(1, (await one.FindAsync(receipt.Answer.Id)).Attempts);
        }
        Assert.Equal((3, 0), (_handled.Count, one.Told));
    }

    [Fact]
    public async Task While_something_waits_what_is_stored_leaves_half_of_the_places_to_it()
    {
        var leave = HoldHandlers();
        var one = await StartCaughtUpAsync();
        await using var writer = one.Writer();
        _hasNoLooks = true;
        var waiting = Assert.Single(await one.AddAsync([Arrival("waiting", "a")]));
        var answers = new List<InboxAnswer>();
        for (var i = 0; i < 4; i++)
        {
            answers.Add((await writer.AddAsync(Arrival($"{i}", "a"))).Answer);
        }
        Assert.Equal([true, true, false, false], answers.Select(a => a.Taken is not null));
        Assert.Equal(InboxState.Received, (await one.FindAsync(waiting)).State);

        _hasNoLooks = false;
        await Eventually.Holds(() => _handled.Count == 4);
        Assert.Contains("a:waiting", _handled);
        leave.SetResult();
        await Eventually.Holds(() => _handled.Count == 5);
    }

    [Fact]
    public async Task What_was_taken_as_it_was_stored_while_a_stop_began_is_put_back_at_once()
    {
        var one = await StartCaughtUpAsync();
        await using var writer = one.Writer();
        _beforeInbox = (name, _) =>
        {
            if (name == nameof(IInbox.AddAsync))
            {
                one.Lifetime.StopApplication();
            }
        };
        var answer = (await writer.AddAsync(Arrival("1", "a"))).Answer;
        Assert.NotNull(answer.Taken);
        await one.StopAsync();

        var back = await one.FindAsync(answer.Id);
        Assert.Equal((InboxState.Received, 1, 0), (back.State, back.Attempts, back.Counted));
        Assert.Empty(_handled);
        Assert.Single(await one.ClaimAsync());
    }

    /// <summary>A replica that has looked and found nothing.</summary>
    private async Task<Process> StartCaughtUpAsync()
    {
        _beforeInbox = (name, _) =>
        {
            if (name == nameof(IInbox.ClaimAsync))
            {
                Interlocked.Increment(ref _looks);
                if (_hasNoLooks)
                {
                    throw new StateUnavailableException("no look", ofOneCall: true);
                }
            }
        };
        var process = await StartAsync();
        await Eventually.Holds(() => Volatile.Read(ref _looks) > 1);
        return process;
    }
}
