using System.Collections.Concurrent;
using Scheduler.Locking;
using Scheduler.Testing;

namespace Scheduler.Tests.Conformance;

// Rules 7 and 8 at the port: pushed releases, and calls that are cancelled.
public abstract partial class LeaseStoreConformance<TFixture>
{
    [Fact]
    public async Task Subscribers_of_the_group_hear_of_releases()
    {
        var (first, second) = await ConnectTwoAsync();
        var stranger = await ConnectAsync(Group + "2");
        Assert.SkipUnless(first.Store.Traits.PushesReleases, "This store pushes nothing.");
        var (heard, heardElsewhere) = (new ConcurrentQueue<LockKey>(), new ConcurrentQueue<LockKey>());
        await using var ours = await second.Store.SubscribeAsync(heard.Enqueue, Stop);
        await using var theirs = await stranger.Store.SubscribeAsync(heardElsewhere.Enqueue, Stop);

        foreach (var key in (string[])["job:a", "job:b"])
        {
            await first.ReleaseAsync(await first.AcquireAsync(LockKey.From(key), Long));
        }
        await stranger.ReleaseAsync(await stranger.AcquireAsync(LockKey.From("job:c"), Long));

        await Eventually.Holds(
            () => heard.Contains(LockKey.From("job:a")) && heard.Contains(LockKey.From("job:b")),
            Fixture.Slack,
            "both releases are heard"
        );
        await Eventually.Holds(() => heardElsewhere.Contains(LockKey.From("job:c")), Fixture.Slack);
        Assert.DoesNotContain(LockKey.From("job:c"), heard);
        Assert.DoesNotContain(LockKey.From("job:a"), heardElsewhere);
    }

    [Fact]
    public async Task A_subscriber_that_is_told_can_take_the_key()
    {
        var (first, second) = await ConnectTwoAsync();
        Assert.SkipUnless(first.Store.Traits.PushesReleases, "This store pushes nothing.");
        var told = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        await using var subscription = await second.Store.SubscribeAsync(_ => told.TrySetResult(), Stop);
        var grant = await first.AcquireAsync(Key, Long);
        await second.ExpectHeldAsync(Key);

        var releasing = first.ReleaseAsync(grant);
        await told.Task.WaitAsync(Fixture.Slack, Stop);

        await second.AcquireAsync(Key, Long);
        await releasing;
    }

    [Fact]
    public async Task A_subscription_that_ended_is_silent_and_leaves_the_others()
    {
        var (first, second) = await ConnectTwoAsync();
        Assert.SkipUnless(first.Store.Traits.PushesReleases, "This store pushes nothing.");
        var (ended, kept) = (new ConcurrentQueue<LockKey>(), new ConcurrentQueue<LockKey>());
        var ending = await second.Store.SubscribeAsync(ended.Enqueue, Stop);
        await using var keeping = await second.Store.SubscribeAsync(kept.Enqueue, Stop);

        await ending.DisposeAsync();
        await ending.DisposeAsync();
        await first.ReleaseAsync(await first.AcquireAsync(Key, Long));

        await Eventually.Holds(() => kept.Contains(Key), Fixture.Slack);
        Assert.Empty(ended);
    }

    [Fact]
    public async Task Subscribing_works_on_every_store()
    {
        var client = await ConnectAsync();

        var subscription = await client.Store.SubscribeAsync(_ => { }, Stop);
        await subscription.DisposeAsync();

        await client.AcquireAsync(Key, Long);
    }

    [Fact]
    public async Task A_cancelled_call_ends_and_its_grant_can_be_dropped()
    {
        var (first, second) = await ConnectTwoAsync();
        using var cancelled = new CancellationTokenSource();
        await cancelled.CancelAsync();
        var owner = first.NewOwner();

        try
        {
            var answer = await first
                .Store.AcquireAsync(new AcquireRequest(Key, owner, "test", Long), cancelled.Token)
                .AsTask()
                .WaitAsync(Fixture.Slack, Stop);
            Assert.IsType<AcquireResult.Unavailable>(answer);
        }
        catch (OperationCanceledException) when (cancelled.IsCancellationRequested && !Stop.IsCancellationRequested) { }

        // The outcome is unknown; whoever dropped it by owner value knows that the key is not theirs.
        await first.Store.ReleaseAsync(Key, owner, Stop);
        var grant = await second.AcquireAsync(Key, Long);
        await EndsAsync(t => first.Store.RenewAsync([new RenewalItem(Key, grant.Owner, grant.Number, Long)], t).AsTask());
        await EndsAsync(t => first.Store.ReadAsync(Key, t).AsTask());
        await EndsAsync(t => first.Store.ListAsync("", 10, null, t).AsTask());
        await EndsAsync(t => first.Store.RevokeAsync(LockKey.From("job:other"), 1, t).AsTask());
        Assert.Equal(grant.Number, (await first.ReadAsync(Key))!.Number);

        async Task EndsAsync(Func<CancellationToken, Task> call)
        {
            var problem = await Record.ExceptionAsync(() => call(cancelled.Token).WaitAsync(Fixture.Slack, Stop));
            Assert.True(problem is OperationCanceledException or StoreUnavailableException, $"A cancelled call ended with {problem}.");
        }
    }
}
