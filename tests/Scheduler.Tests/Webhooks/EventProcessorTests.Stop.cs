using Scheduler.Inbox;
using Scheduler.Testing;
using Scheduler.Webhooks.Processing;

namespace Scheduler.Tests.Webhooks;

// The stop.
public sealed partial class EventProcessorTests
{
    [Fact]
    public async Task From_the_begin_of_a_stop_nothing_is_taken_and_handlers_have_the_rest_of_its_time()
    {
        var leave = HoldHandlers();
        var one = await StartAsync(grace: TimeSpan.FromMinutes(1));
        var ids = await one.AddAsync([Arrival("1", "a")]);
        await Eventually.Holds(() => _handled.Count == 1);

        // The host stops: jobs still have their time, and no service has been told to stop yet.
        one.Lifetime.StopApplication();
        var later = await one.AddAsync([Arrival("2", "a")]);
        leave.SetResult();
        await Eventually.Holds(async () => (await one.FindAsync(ids[0])).State == InboxState.Done);
        await one.StopAsync();

        Assert.Equal((InboxState.Received, 0), ((await one.FindAsync(later[0])).State, (await one.FindAsync(later[0])).Attempts));
        Assert.Single(_handled);
    }

    [Fact]
    public async Task What_was_claimed_while_a_stop_began_is_put_back_at_once()
    {
        var one = await StartAsync();
        var (claimed, go) = one.HoldTheNextClaim();
        var ids = await one.AddAsync([Arrival("1", "a")]);
        await claimed;
        one.Lifetime.StopApplication();
        go.SetResult();
        await one.StopAsync();
        var back = await one.FindAsync(ids[0]);
        Assert.Equal((InboxState.Received, 1, 0), (back.State, back.Attempts, back.Counted));
        Assert.Empty(_handled);
        // At once, not when the time of the claim is over.
        Assert.Single(await one.ClaimAsync());
    }

    [Fact]
    public async Task Handlers_are_cancelled_when_the_time_of_the_stop_is_over_however_it_was_spent()
    {
        _handler = async (_, token) =>
        {
            await Eventually.Cancelled(token);
            throw new OperationCanceledException(token);
        };
        var time = new FakeTime();
        var one = await StartAsync(grace: TimeSpan.FromSeconds(30), stopClock: time);
        var ids = await one.AddAsync([Arrival("1", "a")]);
        await Eventually.Holds(() => _handled.Count == 1);

        one.Lifetime.StopApplication();
        time.Advance(TimeSpan.FromSeconds(29));
        Assert.Equal(InboxState.Processing, (await one.FindAsync(ids[0])).State);
        // Jobs had used up all but a second when the services were told to stop.
        var stopped = one.StopAsync();
        time.Advance(TimeSpan.FromSeconds(1));
        await stopped;
        var back = await one.FindAsync(ids[0]);
        Assert.Equal((InboxState.Received, 1, 0), (back.State, back.Attempts, back.Counted));
    }

    [Fact]
    public async Task A_stop_puts_back_what_does_not_end_in_time()
    {
        _handler = async (_, token) =>
        {
            await Eventually.Cancelled(token);
            throw new OperationCanceledException(token);
        };
        var one = await StartAsync();
        var ids = await one.AddAsync([Arrival("1", "a")]);
        await Eventually.Holds(() => _handled.Count == 1);
        await one.StopAsync();
        var back = await one.FindAsync(ids[0]);
        Assert.Equal((InboxState.Received, 1, 0), (back.State, back.Attempts, back.Counted));
        _handler = static (_, _) => new(WebhookResult.Done);
        var two = await StartAsync();
        await Eventually.Holds(async () => (await two.FindAsync(ids[0])).State == InboxState.Done);
    }
}
