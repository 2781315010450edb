using System.Collections.Concurrent;
using System.Net;
using Npgsql;
using Scheduler.Hosting;
using Scheduler.Locking;
using Scheduler.Postgres.SessionLeases;
using Scheduler.Testing;
using Scheduler.Testing.Servers;
using Scheduler.Testing.Servers.Faults;
using Scheduler.Tests.Conformance;
using Scheduler.Tests.Sqlite;
using Scheduler.Time;

namespace Scheduler.Tests.Postgres;

/// <summary>What only session locks do: they end with their session, whatever ends it.</summary>
public sealed class PostgresSessionTests : IAsyncLifetime
{
    private static readonly LockKey Key = LockKey.From("job:settle");
    private static readonly LockKey Other = LockKey.From("job:other");
    private static readonly TimeSpan Long = TimeSpan.FromSeconds(30);
    private static readonly TimeSpan Bound = TimeSpan.FromSeconds(15);

    private readonly List<ILeaseStore> _stores = [];
    private PostgresDatabase _database = null!;

    private static CancellationToken Stop => TestContext.Current.CancellationToken;

    public async ValueTask InitializeAsync() => _database = await PostgresDatabase.CreateAsync();

    public async ValueTask DisposeAsync()
    {
        foreach (var store in _stores)
        {
            await store.DisposeAsync();
        }
        await _database.Server.ForgetDatabaseAsync(_database.ConnectionString);
    }

    [Fact]
    public async Task The_locks_of_a_killed_process_are_free_at_once_and_those_who_wait_are_told()
    {
        var client = await ConnectAsync();
        await using var peer = await HoldAsync($"{Key}=30,{Other}=30");
        var told = new ConcurrentQueue<LockKey>();
        await using var subscription = await client.Store.SubscribeAsync(told.Enqueue, Stop);
        Assert.True((await client.ExpectHeldAsync(Key)).Remaining > TimeSpan.FromSeconds(10));
        Assert.NotNull(await client.ReadAsync(Other));

        await peer.KillAsync();

        // Its leases have most of their 30 s to go.
        await Eventually.Holds(() => told.Contains(Key) && told.Contains(Other), TimeSpan.FromSeconds(10), "both keys are told");
        await client.AcquireAsync(Key, Long);
        Assert.Null(await client.ReadAsync(Other));
        Assert.Equal(Key, Assert.Single(await client.ListAsync("")).Key);
    }

    [Fact]
    public async Task A_forced_release_of_a_frozen_holder_ends_its_session_after_its_time_and_says_so()
    {
        var client = await ConnectAsync();
        await using var peer = await HoldAsync($"{Key}=3,{Other}=30");
        var held = await client.ReadAsync(Key);
        await peer.SignalAsync("STOP");

        var revoked = await client.Store.RevokeAsync(Key, held!.Number, Stop);

        Assert.True(revoked is { Found: true, MayEndOthers: true });
        Assert.InRange(revoked.FreeAfter, TimeSpan.FromMilliseconds(1), TimeSpan.FromSeconds(3));
        var next = await client.AcquireWhenFreeAsync(Key, Long, Bound);
        Assert.True(next.Number > held.Number);
        Assert.Equal(1, _database.Log.Count(2233));
        // The price: what else the frozen replica had.
        await client.AcquireAsync(Other, Long);
    }

    [Fact]
    public async Task A_frozen_holder_is_ended_by_who_asks_when_it_has_shown_no_sign_of_life_for_its_lease()
    {
        var client = await ConnectAsync();
        await using var peer = await HoldAsync($"{Key}=1");
        Assert.NotNull(await client.ReadAsync(Key));
        await peer.SignalAsync("STOP");
        await client.ExpectHeldAsync(Key);

        await client.AcquireWhenFreeAsync(Key, Long, Bound);

        Assert.Equal(1, _database.Log.Count(2233));
    }

    [Fact]
    public async Task A_holder_that_renews_is_never_ended_by_who_asks()
    {
        var (first, second) = (await ConnectAsync(), await ConnectAsync());
        var lease = TimeSpan.FromMilliseconds(400);
        var grant = await first.AcquireAsync(Key, lease);
        var since = TimeProvider.System.GetTimestamp();

        // Longer than a lease and the time that a silent holder is given beyond it.
        while (TimeProvider.System.GetElapsedTime(since) < lease + HolderWatch.Grace + lease)
        {
            Assert.Equal(RenewalOutcome.Renewed, Assert.Single(await first.RenewAsync(lease, grant)));
            Assert.Equal(first.Replica.Id, (await second.ExpectHeldAsync(Key)).Holder);
        }

        Assert.Equal(0, _database.Log.Count(2233));
    }

    [Fact]
    public async Task A_session_that_was_cut_loses_all_its_leases_and_takes_none_again()
    {
        var (first, second) = (await ConnectAsync(), await ConnectAsync());
        var grant = await first.AcquireAsync(Key, Long);
        var kept = await second.AcquireAsync(Other, Long);

        await _database.ExecuteAsync($"SELECT pg_terminate_backend({Store(first).SessionProcess})");

        Assert.Equal(RenewalOutcome.Lost, Assert.Single(await first.RenewAsync(Long, grant)));
        Assert.Equal(1, _database.Log.Count(2231));
        var next = await second.AcquireWhenFreeAsync(Key, Long, Bound);
        Assert.True(next.Number > grant.Number);
        Assert.IsType<AcquireResult.Unavailable>(await first.TryAsync(Key, first.NewOwner(), Long));
        await first.Store.CheckAsync(LockStoreUse.Used, Stop);
        Assert.Equal(RenewalOutcome.Lost, Assert.Single(await first.RenewAsync(Long, grant)));
        Assert.False((await first.ReleaseAsync(grant)).Released);
        Assert.Equal(second.Replica.Id, (await first.ExpectHeldAsync(Key)).Holder);
        Assert.Equal(RenewalOutcome.Renewed, Assert.Single(await second.RenewAsync(Long, kept)));
    }

    [Fact]
    public async Task A_restart_of_the_server_ends_all_leases_and_numbers_still_grow()
    {
        await using var server = await PostgresServer.StartAsync();
        var database = await server.CreateDatabaseAsync();
        var first = await ConnectAsync(database);
        var grant = await first.AcquireAsync(Key, Long);

        await server.KillAsync();
        await server.RestartAsync();

        var second = await ConnectAsync(database);
        Assert.Null(await second.ReadAsync(Key));
        Assert.True((await second.AcquireAsync(Key, Long)).Number > grant.Number);
        Assert.Equal(RenewalOutcome.Lost, Assert.Single(await first.RenewAsync(Long, grant)));
        await first.Store.CheckAsync(LockStoreUse.Used, Stop);
        Assert.Equal(RenewalOutcome.Lost, Assert.Single(await first.RenewAsync(Long, grant)));
        foreach (var store in _stores)
        {
            await store.DisposeAsync();
        }
    }

    [Fact]
    public async Task Keys_whose_locks_have_the_same_number_exclude_each_other_and_it_is_told()
    {
        static long Same(LockKey key) => 4_711;
        var (first, second) = (await ConnectAsync(wordOf: Same), await ConnectAsync(wordOf: Same));
        var grant = await first.AcquireAsync(Key, Long);

        foreach (var client in (StoreClient[])[first, second])
        {
            var held = await client.ExpectHeldAsync(Other);
            Assert.Equal(first.Replica.Id, held.Holder);
            Assert.Contains($"'{Key}'", held.Purpose, StringComparison.Ordinal);
            Assert.Null(await client.ReadAsync(Other));
        }
        Assert.Equal(2, _database.Log.Count(2234));
        Assert.Equal(grant.Number, (await second.ReadAsync(Key))!.Number);

        await first.ReleaseAsync(grant);
        await second.AcquireAsync(Other, Long);
        Assert.Null(await first.ReadAsync(Key));
    }

    [Fact]
    public async Task A_grant_that_is_soon_over_writes_no_note()
    {
        const int Rounds = 100;
        var client = await ConnectAsync();
        await _database.ExecuteAsync(
            "CREATE SEQUENCE noted; CREATE FUNCTION count_note() RETURNS trigger LANGUAGE plpgsql AS "
                + "'BEGIN PERFORM nextval(''noted''); RETURN NULL; END'; "
                + "CREATE TRIGGER count_note AFTER INSERT ON scheduler_locks.notes FOR EACH ROW EXECUTE FUNCTION count_note()"
        );

        for (var round = 0; round < Rounds; round++)
        {
            await client.ReleaseAsync(await client.AcquireAsync(Key, Long));
        }

        // A machine may stall now and then for longer than a note waits.
        Assert.InRange(await NotesAsync(), 0, Rounds / 2);
        var before = await NotesAsync();
        await client.AcquireAsync(Key, Long);
        await Eventually.Holds(async () => await NotesAsync() == before + 1, Bound, "what stays is noted");
    }

    [Fact]
    public async Task A_full_lock_table_ends_the_session_and_is_told_with_its_remedy()
    {
        await using var server = await PostgresServer.StartAsync("max_locks_per_transaction=10", "max_connections=20");
        var database = await server.CreateDatabaseAsync();
        var client = await ConnectAsync(database);
        var grant = await client.AcquireAsync(Key, Long);
        AcquireResult.Unavailable? full = null;
        for (var i = 0; full is null && i < 20_000; i++)
        {
            full = await client.TryAsync(LockKey.From($"job:{i}"), client.NewOwner(), Long) as AcquireResult.Unavailable;
        }

        Assert.Contains("max_locks_per_transaction", full!.Reason, StringComparison.Ordinal);
        Assert.Equal(RenewalOutcome.Lost, Assert.Single(await client.RenewAsync(Long, grant)));
        await client.Store.CheckAsync(LockStoreUse.Used, Stop);
        Assert.True((await client.AcquireAsync(Key, Long)).Number > grant.Number);
        foreach (var store in _stores)
        {
            await store.DisposeAsync();
        }
    }

    [Fact]
    public async Task A_store_that_is_disposed_while_its_session_is_asked_leaves_no_connection()
    {
        const int Rounds = 10;
        await using var proxy = FaultProxy.Start(new DnsEndPoint(_database.Server.Host, _database.Server.Port), FaultSeed.Take());
        var behind = new NpgsqlConnectionStringBuilder(_database.ConnectionString) { Host = "127.0.0.1", Port = proxy.EndPoint.Port };
        for (var round = 0; round < Rounds; round++)
        {
            var client = await ConnectAsync(behind.ConnectionString);
            var grant = await client.AcquireAsync(Key, Long);
            await client.ReleaseAsync(grant);
            proxy.ToClient.Hold();
            var asked = client.RenewAsync(Long, grant);
            await Eventually.Holds(() => proxy.ToClient.Waiting > 0, Bound, "an answer is on its way");

            await client.Store.DisposeAsync();
            proxy.Heal();

            Assert.Equal(RenewalOutcome.Lost, Assert.Single(await asked));
            await Eventually.Holds(() => proxy.Connections == 0, Bound, "connections are closed");
        }
    }

    private Task<long> NotesAsync() =>
        _database.Server.AskAsync<long>("SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM noted", _database.Name);

    private async Task<Peer> HoldAsync(string leases)
    {
        var peer = Peer.Start("session-hold", _database.ConnectionString, "test", leases);
        Assert.StartsWith("held by peer-", await peer.LineAsync(), StringComparison.Ordinal);
        return peer;
    }

    private async Task<StoreClient> ConnectAsync(string? connectionString = null, Func<LockKey, long>? wordOf = null)
    {
        var replica = ReplicaIdentity.Create("replica");
        var context = new BackendContext("test", replica, new LeaseOptions(), BootTimeProvider.Instance, _database.Log);
        var store = new PostgresSessionLeaseStore(
            context,
            connectionString ?? _database.ConnectionString,
            PostgresSessionLeaseStore.DefaultSchema,
            wordOf
        );
        _stores.Add(store);
        await store.CheckAsync(LockStoreUse.Unused, Stop);
        return new StoreClient(store, replica, Stop);
    }

    private static PostgresSessionLeaseStore Store(StoreClient client) => (PostgresSessionLeaseStore)client.Store;
}
