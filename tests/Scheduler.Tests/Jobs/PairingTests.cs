using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging.Abstractions;
using Scheduler.Hosting;
using Scheduler.Jobs;
using Scheduler.Leases;
using Scheduler.Locking;
using Scheduler.Locking.InMemory;
using Scheduler.Runs;
using Scheduler.Sqlite.Leases;
using Scheduler.Sqlite.State;
using Scheduler.Testing;
using Scheduler.Time;

namespace Scheduler.Tests.Jobs;

/// <summary>Lock store and State are a pair: replicas with different pairs would run jobs twice.</summary>
public sealed class PairingTests : IDisposable
{
    private static readonly LockKey Key = LockKey.From("job:settle");

    // A replica that was killed stands in the way for so long, and 6 s more.
    private static readonly TimeSpan LongestLease = TimeSpan.FromSeconds(1);

    private readonly DirectoryInfo _folder = Directory.CreateTempSubdirectory("scheduler-pairs-");
    private readonly Group _group = new(withState: true);

    public void Dispose()
    {
        _group.Dispose();
        _folder.Delete(recursive: true);
    }

    [Fact]
    public async Task A_replica_with_another_lock_store_is_not_ready_until_the_others_have_left()
    {
        var one = await StartAsync("one.db", "state.db");
        await EveryoneIsReady(one);
        await using var two = await StartAsync("two.db", "state.db");

        await Eventually.Holds(() => !two.Status.IsReady && two.Status.NotReadyReasons.Any(r => r.Contains("Scheduler:Locks")));
        var reason = Assert.Single(two.Status.NotReadyReasons);
        Assert.Contains(one.Locks.Info!.Id, reason, StringComparison.Ordinal);
        Assert.Contains(one.Services.GetRequiredService<ReplicaIdentity>().Name, reason, StringComparison.Ordinal);
        Assert.IsType<LockAttempt.Unavailable>(await two.Locks.TryAcquireAsync(Key, "test"));
        Assert.Equal(0, (await TakenAsync(one)).Generation);
        Assert.True(one.Status.IsReady);

        // Stopped in order it holds nothing any more, and the generation tells the tokens of the new store from those of the former.
        await one.DisposeAsync();
        await EveryoneIsReady(two);
        Assert.Equal(1, (await TakenAsync(two)).Generation);
        Assert.Contains(_group.Log.Entries, e => e.Id.Id == 1117);
    }

    [Fact]
    public async Task A_replica_that_vanished_stands_in_the_way_until_its_leases_are_over()
    {
        await using var state = await OpenStateAsync();
        await state.Pair.PairAsync(new PairRequest("former", "dead", TimeSpan.Zero, 0, IsKept: true), default);
        await BeatAsync(state, "dead", "former");
        var since = TimeProvider.System.GetTimestamp();

        await using var replica = await StartAsync("one.db", "state.db");
        // Before that the new file waits, because the group has used locks.
        await Eventually.Holds(() =>
            replica.Status.NotReadyReasons is [var reason] && reason.Contains(" dead may hold", StringComparison.Ordinal)
        );
        await Eventually.Holds(() => replica.Status.IsReady);
        Assert.InRange(TimeProvider.System.GetElapsedTime(since), TimeSpan.FromSeconds(6.9), TimeSpan.FromSeconds(20));
    }

    [Fact]
    public async Task A_replica_with_another_state_is_not_ready_while_the_lock_store_belongs_to_the_first()
    {
        var one = await StartAsync("locks.db", "state.db");
        await EveryoneIsReady(one);
        var token = await TakenAsync(one);
        await using var two = await StartAsync("locks.db", "other.db");

        await Eventually.Holds(() => two.Status.NotReadyReasons.Any(r => r.Contains("Scheduler:State")));
        var reason = Assert.Single(two.Status.NotReadyReasons);
        Assert.Contains(await one.State!.CallAsync((s, t) => s.Pair.IdAsync(t), default), reason, StringComparison.Ordinal);
        Assert.Contains(await two.State!.CallAsync((s, t) => s.Pair.IdAsync(t), default), reason, StringComparison.Ordinal);
        Assert.True(one.Status.IsReady);

        await one.DisposeAsync();
        await EveryoneIsReady(two);
        Assert.True(await TakenAsync(two) > token);
    }

    [Fact]
    public async Task A_lock_store_in_memory_is_refused_beside_a_living_replica_and_makes_no_pair()
    {
        await using var one = await StartAsync(null, "state.db");
        await EveryoneIsReady(one);
        await using var two = await StartAsync(null, "state.db", new InMemoryLeaseServer());
        await Eventually.Holds(() => two.Status.NotReadyReasons.Any(r => r.Contains("Scheduler:Locks")));
        await using var same = await StartAsync(null, "state.db");
        await EveryoneIsReady(same);
        Assert.Null(await one.State!.CallAsync((s, t) => s.Pair.RecallAsync(t), default));
    }

    [Fact]
    public async Task A_replica_that_slept_while_the_group_changed_its_lock_store_uses_the_former_one_no_more()
    {
        await using var state = await OpenStateAsync();
        await using var one = await StartAsync("one.db", "state.db");
        await EveryoneIsReady(one);

        // What another replica would have done after this one had been silent for long enough.
        await state.Members.LeaveAsync(one.Id, default);
        await state.Pair.PairAsync(new PairRequest("new", "another", TimeSpan.Zero, 0, IsKept: true), default);
        await BeatAsync(state, "another", "new");

        await Eventually.Holds(() => !one.Status.IsReady);
        await Eventually.Holds(() => one.Status.NotReadyReasons.Any(r => r.Contains(" another may hold", StringComparison.Ordinal)));
        Assert.IsType<LockAttempt.Unavailable>(await one.Locks.TryAcquireAsync(Key, "test"));
    }

    [Fact]
    public async Task A_replica_says_which_store_it_may_hold_leases_of_until_the_last_one_is_over()
    {
        FaultyLeaseStore? store = null;
        await using var one = await StartAsync(
            "one.db",
            "state.db",
            configure: l => l.SetLeaseStore((_, c) => store = new FaultyLeaseStore(new SqliteLeaseStore(c, Source("one.db"))))
        );
        await EveryoneIsReady(one);
        var id = one.Locks.Info!.Id;
        var lease = Assert.IsType<LockAttempt.Granted>(await one.Locks.TryAcquireAsync(Key, "test")).Lease;
        store!.GoSilent(commandsArrive: false);
        await one.Locks.TryAcquireAsync(LockKey.From("other"), "test");
        Assert.False(one.Locks.Health.IsUp);
        Assert.Equal(lease.IsHeld ? id : null, one.Locks.StoreInUse);
        await Eventually.Holds(() => one.Locks.StoreInUse is null);
        Assert.False(lease.IsHeld);
        store.Heal();
        await Eventually.Holds(() => one.Locks.StoreInUse == id);
    }

    private static Task EveryoneIsReady(Replica replica) => Eventually.Holds(() => replica.Status.IsReady);

    private static async Task<FencingToken> TakenAsync(Replica replica)
    {
        await using var lease = Assert.IsType<LockAttempt.Granted>(await replica.Locks.TryAcquireAsync(Key, "test")).Lease;
        return lease.Token;
    }

    private static async Task BeatAsync(SqliteState state, string replica, string store) =>
        await state.Members.HeartbeatAsync(
            new MemberRecord
            {
                Id = replica,
                Name = replica,
                StartedAt = TimeProvider.System.GetUtcNow(),
                WallClock = TimeProvider.System.GetUtcNow(),
                BootClock = BootTimeProvider.Instance.GetElapsedTime(0),
                LockStore = store,
                Status = "stopping",
            },
            default
        );

    private string Source(string file) => $"Data Source={Path.Combine(_folder.FullName, file)}";

    private async Task<SqliteState> OpenStateAsync()
    {
        var context = new BackendContext(
            _group.Name,
            ReplicaIdentity.Create("test"),
            new LeaseOptions(),
            BootTimeProvider.Instance,
            NullLoggerFactory.Instance
        );
        var state = new SqliteState(context, Source("state.db"));
        await state.OpenAsync(default);
        return state;
    }

    private Task<Replica> StartAsync(
        string? locks,
        string state,
        InMemoryLeaseServer? server = null,
        Action<SingleInstanceBuilder>? configure = null
    ) =>
        Replica.StartAsync(
            _group,
            Ledger.Durable<PlainJob>,
            l =>
            {
                l.Options.Leases.LeaseDuration = LongestLease;
                l.Options.Leases.CallTimeout = TimeSpan.FromMilliseconds(300);
                l.Options.Leases.LongestLease = LongestLease;
                l.Options.Leases.ProbeInterval = TimeSpan.FromMilliseconds(100);
                l.UseSqliteState(Source(state));
                if (locks is not null)
                {
                    l.UseSqliteLocks(Source(locks));
                }
                else
                {
                    l.SetLeaseStore((_, c) => new InMemoryLeaseStore(server ?? _group.Server, c.Group));
                }
                configure?.Invoke(l);
            }
        );
}
