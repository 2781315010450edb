using System.Collections.Concurrent;
using Scheduler.Locking;
using Scheduler.Postgres.Leases;
using Scheduler.Testing;
using Scheduler.Tests.Conformance;

namespace Scheduler.Tests.Postgres;

/// <summary>The line of those who wait for a key: who is next, how long a place is kept, and who is told.</summary>
public sealed class PostgresLineTests : IAsyncLifetime
{
    private static readonly LockKey Key = LockKey.From("job:settle");
    private static readonly TimeSpan Long = LeaseDatabase.Long;
    private static readonly TimeSpan Bound = TimeSpan.FromSeconds(15);

    private LeaseDatabase _leases = null!;

    private static CancellationToken Stop => TestContext.Current.CancellationToken;

    public async ValueTask InitializeAsync() => _leases = await LeaseDatabase.CreateAsync();

    public ValueTask DisposeAsync() => _leases.DisposeAsync();

    [Fact]
    public async Task A_place_in_the_line_is_kept_for_those_who_ask_again_and_lost_by_those_who_do_not()
    {
        var clients = await Task.WhenAll(Enumerable.Range(0, 3).Select(_ => _leases.ConnectAsync()));
        var grant = await clients[0].AcquireAsync(Key, Long);
        await WaitingAsync(clients[1]);
        await WaitingAsync(clients[2]);
        await clients[0].ReleaseAsync(grant);

        // It is free, and kept for the first in line.
        var held = Assert.IsType<AcquireResult.Held>(await WaitingAsync(clients[2]));
        Assert.Equal(clients[1].Replica.Id, held.Holder);
        Assert.InRange(held.Remaining, TimeSpan.FromTicks(1), TimeSpan.FromMilliseconds(500));

        // The first does not ask again, so the second gets it when that time is over.
        await Eventually.Holds(async () => await WaitingAsync(clients[2]) is AcquireResult.Granted, Bound);
    }

    [Fact]
    public async Task Who_has_a_place_in_the_line_changes_nothing_by_asking_again_and_is_known_to_the_next_holder()
    {
        // A place is kept for two seconds where releases are heard.
        var listening = _leases.Database.ConnectionString;
        var clients = await Task.WhenAll(Enumerable.Range(0, 3).Select(_ => _leases.ConnectAsync(listening: listening)));
        var grant = await clients[0].AcquireAsync(Key, Long);
        await WaitingAsync(clients[1]);
        await WaitingAsync(clients[2]);
        await Eventually.Holds(async () => !await AskingWritesAsync(), Bound);
        // Until a quarter of its time is over.
        await Eventually.Holds(AskingWritesAsync, Bound);

        Assert.Equal(new ReleaseResult(Released: true, Contended: true), await clients[0].ReleaseAsync(grant));
        var owner = clients[1].NewOwner();
        Assert.IsType<AcquireResult.Granted>(await WaitingAsync(clients[1], owner));

        Assert.Equal(new ReleaseResult(Released: true, Contended: true), await clients[1].Store.ReleaseAsync(Key, owner, Stop));
        owner = clients[2].NewOwner();
        Assert.IsType<AcquireResult.Granted>(await WaitingAsync(clients[2], owner));
        Assert.Equal(new ReleaseResult(Released: true, Contended: false), await clients[2].Store.ReleaseAsync(Key, owner, Stop));

        async Task<bool> AskingWritesAsync()
        {
            var before = await VersionAsync();
            await WaitingAsync(clients[1]);
            await WaitingAsync(clients[2]);
            return await VersionAsync() != before;
        }

        Task<string> VersionAsync() => _leases.Database.AskAsync<string>("SELECT xmin::text FROM scheduler_locks.leases");
    }

    [Fact]
    public async Task Who_takes_a_key_that_others_of_its_replica_wait_for_has_the_last_place_without_asking_again()
    {
        var listening = _leases.Database.ConnectionString;
        var clients = await Task.WhenAll(Enumerable.Range(0, 3).Select(_ => _leases.ConnectAsync(listening: listening)));
        await clients[2].ReleaseAsync(await clients[2].AcquireAsync(Key, Long));
        var first = Request(clients[0]) with { OthersWait = true };
        Assert.IsType<AcquireResult.Granted>(await clients[0].Store.AcquireAsync(first, Stop));
        await WaitingAsync(clients[1]);

        // The others of the first replica began to wait before the second replica did.
        Assert.True((await clients[0].Store.ReleaseAsync(Key, first.Owner, Stop)).Contended);
        Assert.Equal(clients[0].Replica.Id, Assert.IsType<AcquireResult.Held>(await WaitingAsync(clients[1])).Holder);
        first = Request(clients[0]) with { OthersWait = true };
        Assert.IsType<AcquireResult.Granted>(await clients[0].Store.AcquireAsync(first, Stop));

        Assert.True((await clients[0].Store.ReleaseAsync(Key, first.Owner, Stop)).Contended);
        Assert.Equal(clients[1].Replica.Id, Assert.IsType<AcquireResult.Held>(await WaitingAsync(clients[0])).Holder);
        var second = Request(clients[1]);
        Assert.IsType<AcquireResult.Granted>(await clients[1].Store.AcquireAsync(second, Stop));

        Assert.True((await clients[1].Store.ReleaseAsync(Key, second.Owner, Stop)).Contended);
        Assert.Equal(clients[0].Replica.Id, Assert.IsType<AcquireResult.Held>(await WaitingAsync(clients[2])).Holder);
        Assert.IsType<AcquireResult.Granted>(await WaitingAsync(clients[0]));
    }

    [Fact]
    public async Task Whose_turn_it_is_is_told_at_once_and_the_others_a_moment_later()
    {
        var time = new FakeTime();
        var listening = _leases.Database.ConnectionString;
        var clients = await Task.WhenAll(Enumerable.Range(0, 3).Select(_ => _leases.ConnectAsync(listening: listening, time: time)));
        var told = clients.Select(_ => new ConcurrentQueue<LockKey>()).ToList();
        for (var i = 0; i < clients.Length; i++)
        {
            await clients[i].Store.SubscribeAsync(told[i].Enqueue, Stop);
        }
        var other = LockKey.From("job:other");
        var grants = (await clients[0].AcquireAsync(Key, Long), await clients[0].AcquireAsync(other, Long));
        await WaitingAsync(clients[1]);
        await WaitingAsync(clients[2]);

        await clients[0].ReleaseAsync(grants.Item1);
        await clients[0].ReleaseAsync(grants.Item2);

        // For the other key nobody waits, so all are told; what is told comes in order.
        await Eventually.Holds(() => told.TrueForAll(t => t.Contains(other)), Bound);
        Assert.Equal([other], told[0]);
        Assert.Equal([Key, other], told[1]);
        Assert.Equal([other], told[2]);
        time.Advance(ReleaseSignals.Later);
        await Eventually.Holds(() => told[0].Contains(Key) && told[2].Contains(Key), Bound);
    }

    private static ValueTask<AcquireResult> WaitingAsync(StoreClient client, LeaseOwner? owner = null) =>
        client.Store.AcquireAsync(Request(client, owner), Stop);

    private static AcquireRequest Request(StoreClient client, LeaseOwner? owner = null) =>
        new(Key, owner ?? client.NewOwner(), "test", Long) { Waits = true };
}
