using System.Collections.Concurrent;
using Scheduler.Locking;

namespace Scheduler.Tests.Conformance;

// Rule 1, one holder: at the port.
public abstract partial class LeaseStoreConformance<TFixture>
{
    [Fact]
    public async Task A_held_key_is_refused_and_shows_its_holder()
    {
        var (first, second) = await ConnectTwoAsync();
        var grant = await first.AcquireAsync(Key, Long, "settle/nightly/2026-01-31T02:00:00Z 'ä\u20ac\U0001F512'");

        var held = await second.ExpectHeldAsync(Key);

        Assert.Equal(first.Replica.Id, held.Holder);
        Assert.Equal("settle/nightly/2026-01-31T02:00:00Z 'ä\u20ac\U0001F512'", held.Purpose);
        Assert.InRange(held.Remaining, Long - Fixture.Slack, Long);
    }

    [Fact]
    public async Task A_purpose_of_the_longest_length_comes_back_whole()
    {
        var (first, second) = await ConnectTwoAsync();
        var purpose = string.Concat(Enumerable.Repeat("p\u20ac", 512));

        await first.AcquireAsync(Key, Long, purpose);

        Assert.Equal(purpose, (await second.ExpectHeldAsync(Key)).Purpose);
    }

    [Fact]
    public async Task A_replica_does_not_get_the_key_that_it_holds_a_second_time()
    {
        var client = await ConnectAsync();
        await client.AcquireAsync(Key, Long);

        Assert.Equal(client.Replica.Id, (await client.ExpectHeldAsync(Key)).Holder);
    }

    [Fact]
    public async Task A_refused_request_leaves_nothing_behind()
    {
        var (first, second) = await ConnectTwoAsync();
        var grant = await first.AcquireAsync(Key, Long, "the first");
        await second.ExpectHeldAsync(Key);

        var record = await second.ReadAsync(Key);
        Assert.Equal((first.Replica.Id, "the first", grant.Number), (record!.Holder, record.Purpose, record.Number));
        Assert.True((await first.ReleaseAsync(grant)).Released);
        Assert.Null(await second.ReadAsync(Key));
    }

    [Fact]
    public async Task A_grant_ends_by_the_servers_time_and_not_before()
    {
        var (first, second) = await ConnectTwoAsync();
        _clientTime.Freeze();
        var before = TimeProvider.System.GetTimestamp();
        await first.AcquireAsync(Key, Short);
        var after = TimeProvider.System.GetTimestamp();

        await second.AcquireWhenFreeAsync(Key, Long, Short + Fixture.Slack);

        // Servers may count whole milliseconds.
        var tolerance = TimeSpan.FromMilliseconds(2);
        Assert.True(TimeProvider.System.GetElapsedTime(before) >= Short - tolerance, "granted before the first grant was over");
        Assert.True(TimeProvider.System.GetElapsedTime(after) <= Short + Fixture.Slack, "granted too late");
    }

    [Fact]
    public async Task Of_parallel_requests_exactly_one_is_granted()
    {
        var clients = await Task.WhenAll(Enumerable.Range(0, 4).Select(_ => ConnectAsync()));
        for (var round = 0; round < 25; round++)
        {
            var answers = new ConcurrentBag<(StoreClient Client, LeaseOwner Owner, AcquireResult Answer)>();
            await Task.WhenAll(
                Enumerable
                    .Range(0, 16)
                    .Select(i =>
                        Task.Run(
                            async () =>
                            {
                                var client = clients[i % clients.Length];
                                var owner = client.NewOwner();
                                answers.Add((client, owner, await client.TryAsync(Key, owner, Long)));
                            },
                            Stop
                        )
                    )
            );

            Assert.DoesNotContain(answers, a => a.Answer is AcquireResult.Unavailable);
            var (holder, owner, answer) = Assert.Single(answers, a => a.Answer is AcquireResult.Granted);
            var granted = (AcquireResult.Granted)answer;
            Assert.All(
                answers.Select(a => a.Answer).OfType<AcquireResult.Held>(),
                held => Assert.Contains(held.Holder, Fixture.NamesTheWinner ? [holder.Replica.Id] : clients.Select(c => c.Replica.Id))
            );
            Assert.True((await holder.ReleaseAsync(new TestGrant(Key, owner, granted.Number))).Released);
        }
    }

    [Fact]
    public async Task Keys_are_independent()
    {
        var (first, second) = await ConnectTwoAsync();
        await first.AcquireAsync(LockKey.From("job:a"), Long);

        await second.AcquireAsync(LockKey.From("job:b"), Long);
        await second.AcquireAsync(LockKey.From("job:A"), Long);
        await second.AcquireAsync(LockKey.From("job:a "), Long);
    }

    [Fact]
    public async Task Groups_never_touch_each_other()
    {
        var here = await ConnectAsync();
        var there = await ConnectAsync(Group + "2");
        var grant = await here.AcquireAsync(Key, Long);

        var other = await there.AcquireAsync(Key, Long);
        Assert.Single(await here.ListAsync(""));
        Assert.Single(await there.ListAsync(""));
        Assert.False((await there.ReleaseAsync(grant)).Released);
        Assert.True((await there.ReleaseAsync(other)).Released);

        Assert.Equal(grant.Number, (await here.ReadAsync(Key))!.Number);
        Assert.Equal(RenewalOutcome.Renewed, Assert.Single(await here.RenewAsync(Long, grant)));
        Assert.Null(await there.ReadAsync(Key));
        Assert.Equal(RenewalOutcome.Lost, Assert.Single(await there.RenewAsync(Long, other)));
    }
}
