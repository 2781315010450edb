using Scheduler.Leases;
using Scheduler.Locking;
using Scheduler.Testing;
using Scheduler.Testing.Servers;
using Scheduler.Tests.Conformance;

namespace Scheduler.Tests.Postgres;

/// <summary>What leases on PostgreSQL do beyond what every store must.</summary>
public sealed class PostgresLeaseTests : IAsyncLifetime
{
    private static readonly LockKey Key = LockKey.From("job:settle");
    private static readonly TimeSpan Long = LeaseDatabase.Long;
    private static readonly TimeSpan Bound = TimeSpan.FromSeconds(15);

    private LeaseDatabase _leases = null!;

    private static CancellationToken Stop => TestContext.Current.CancellationToken;

    public async ValueTask InitializeAsync() => _leases = await LeaseDatabase.CreateAsync();

    public ValueTask DisposeAsync() => _leases.DisposeAsync();

    [Fact]
    public async Task An_acquire_that_is_sent_again_is_granted_once()
    {
        var client = await _leases.ConnectAsync();
        var grant = await client.AcquireAsync(Key, Long);

        var again = Assert.IsType<AcquireResult.Granted>(await client.TryAsync(Key, grant.Owner, Long));

        Assert.Equal(grant.Number, again.Number);
        Assert.True((await client.ReleaseAsync(grant)).Released);
    }

    [Fact]
    public async Task Those_who_ask_for_one_key_together_are_told_of_the_one_who_got_it()
    {
        var client = await _leases.ConnectAsync();
        var owners = Enumerable.Range(0, 200).Select(_ => client.NewOwner()).ToList();

        var answers = await Task.WhenAll(owners.Select((o, i) => client.TryAsync(Key, o, Long, $"purpose {i}").AsTask()));

        var winner = Array.FindIndex(answers, a => a is AcquireResult.Granted);
        Assert.Single(answers, a => a is AcquireResult.Granted);
        Assert.All(
            answers.OfType<AcquireResult.Held>(),
            held => Assert.Equal((client.Replica.Id, $"purpose {winner}"), (held.Holder, held.Purpose))
        );
        Assert.Equal(199, answers.OfType<AcquireResult.Held>().Count());
        Assert.True((await client.Store.ReleaseAsync(Key, owners[winner], Stop)).Released);
        Assert.Equal(0, _leases.Log.Count(2204));
    }

    [Fact]
    public async Task Those_that_meet_share_a_commit()
    {
        var client = await _leases.ConnectAsync();
        await client.ReleaseAsync(await client.AcquireAsync(Key, Long));
        var before = await WrittenAsync();

        // While the first is held up by a locked row, the others gather behind it.
        await using (var locked = await LockedAsync(Key))
        {
            var first = client.AcquireAsync(Key, Long);
            var others = Enumerable.Range(0, 60).Select(i => client.AcquireAsync(LockKey.From($"job:{i}"), Long)).ToList();
            await locked.DisposeAsync();
            await first;
            await Task.WhenAll(others);
        }

        // The first, and the group behind it.
        Assert.Equal(2, await WrittenAsync() - before);

        // The number of transactions that wrote: each grant of a group has the same one.
        async Task<long> WrittenAsync() =>
            await _leases.Database.AskAsync<long>("SELECT count(DISTINCT xmin::text) FROM scheduler_locks.leases WHERE replica <> ''");
    }

    [Fact]
    public async Task Groups_with_the_same_keys_in_other_orders_never_wait_for_each_other_in_a_circle()
    {
        var keys = Enumerable.Range(0, 40).Select(i => LockKey.From($"job:{i}")).ToList();
        var clients = await Task.WhenAll(Enumerable.Range(0, 4).Select(_ => _leases.ConnectAsync()));

        await Task.WhenAll(
            clients.Select(
                (client, c) =>
                    Task.Run(
                        async () =>
                        {
                            var random = new Random(c);
                            for (var round = 0; round < 25; round++)
                            {
                                await Task.WhenAll(keys.OrderBy(_ => random.Next()).Select(k => CycleAsync(client, k)));
                            }
                        },
                        Stop
                    )
            )
        );

        // Neither a call that was sent again nor a group that failed for one of its calls.
        Assert.Equal((0, 0), (_leases.Log.Count(2203), _leases.Log.Count(2204)));

        async Task CycleAsync(StoreClient client, LockKey key)
        {
            var owner = client.NewOwner();
            if (await client.TryAsync(key, owner, Long) is AcquireResult.Granted granted)
            {
                await client.RenewAsync(Long, new TestGrant(key, owner, granted.Number));
                await client.Store.ReleaseAsync(key, owner, Stop);
            }
        }
    }

    [Fact]
    public async Task A_grant_and_a_renewal_survive_a_crash_whatever_the_server_is_set_to()
    {
        // Commits that do not wait for the disk are not there after a crash: nothing else writes them for ten seconds.
        await using var server = await PostgresServer.StartAsync("synchronous_commit=off", "wal_writer_delay=10s");
        await using var leases = await LeaseDatabase.CreateAsync(server);
        var client = await leases.ConnectAsync();
        var renewed = await client.AcquireAsync(LockKey.From("job:renewed"), TimeSpan.FromSeconds(15));
        Assert.Equal(RenewalOutcome.Renewed, Assert.Single(await client.RenewAsync(Long, renewed)));
        await CrashAsync();
        Assert.InRange((await client.ReadAsync(renewed.Key))!.Remaining, TimeSpan.FromSeconds(15), Long);

        var grant = await client.AcquireAsync(Key, Long);
        await CrashAsync();

        var other = await leases.ConnectAsync();
        await other.ExpectHeldAsync(Key);
        Assert.Equal(grant.Number, (await other.ReadAsync(Key))!.Number);

        async Task CrashAsync()
        {
            await server.RestartAsync();
            await Eventually.Holds(
                async () =>
                {
                    try
                    {
                        await client.Store.CheckAsync(LockStoreUse.Used, Stop);
                        return true;
                    }
                    catch (StoreUnavailableException)
                    {
                        return false;
                    }
                },
                Bound
            );
        }
    }

    [Fact]
    public async Task A_store_that_knows_nothing_of_a_group_that_has_used_one_grants_nothing_until_every_lease_is_over()
    {
        var store = _leases.Store(
            options: new LeaseOptions { LongestLease = TimeSpan.FromSeconds(1), LeaseDuration = TimeSpan.FromSeconds(1) }
        );

        var closed = await Assert.ThrowsAsync<StoreUnavailableException>(() => store.CheckAsync(LockStoreUse.Used, Stop).AsTask());

        Assert.False(closed.IsPermanent);
        Assert.InRange(closed.RetryAfter!.Value, TimeSpan.FromTicks(1), TimeSpan.FromSeconds(1));
        Assert.Contains("grants nothing for another", closed.Message, StringComparison.Ordinal);
        // For all replicas alike, and only once.
        await Assert.ThrowsAsync<StoreUnavailableException>(() => _leases.ConnectAsync());
        await Eventually.Holds(
            async () => await Record.ExceptionAsync(() => store.CheckAsync(LockStoreUse.Used, Stop).AsTask()) is null,
            Bound
        );
        await (await _leases.ConnectAsync()).AcquireAsync(Key, TimeSpan.FromSeconds(1));
    }

    [Fact]
    public async Task Rows_of_keys_that_nobody_has_taken_for_a_week_go()
    {
        var client = await _leases.ConnectAsync();
        var held = await client.AcquireAsync(Key, Long);
        await _leases.Database.ExecuteAsync(
            """
            INSERT INTO scheduler_locks.leases (group_name, key, replica, acquisition, purpose, number, until)
            SELECT 'test', CASE WHEN days > 7 THEN 'old:' ELSE 'idle:' END || n, '', 1, '', 1,
              scheduler_locks.now() - (days * 86400000000 + (days - 7) * 60000000)::bigint
            FROM generate_series(1, 3000) n, (VALUES (6.9), (7.1)) d(days)
            """
        );
        var round = 0;

        await Eventually.Holds(
            async () =>
            {
                round++;
                await Task.WhenAll(
                    Enumerable
                        .Range(0, 1_100)
                        .Select(i => client.TryAsync(LockKey.From($"new:{round}-{i}"), client.NewOwner(), Long).AsTask())
                );
                return await CountAsync("old:") == 0;
            },
            Bound
        );

        Assert.Equal(3_000, await CountAsync("idle:"));
        Assert.Equal(held.Number, (await client.ReadAsync(Key))!.Number);

        Task<long> CountAsync(string prefix) =>
            _leases.Database.AskAsync<long>($"SELECT count(*) FROM scheduler_locks.leases WHERE starts_with(key, '{prefix}')");
    }

    [Theory]
    [InlineData(5)]
    [InlineData(-5)]
    public async Task A_step_of_the_servers_clock_ends_the_leases_and_numbers_still_grow(int seconds)
    {
        await using var time = new PacedTime();
        var locks = await _leases.StartAsync(time);
        var lease = Granted(await locks.TryAcquireAsync(Key, "test", Long, Stop));
        var released = Granted(await locks.TryAcquireAsync(LockKey.From("job:released"), "test", Long, Stop));
        await released.ReleaseAsync(Stop);

        // The clock as the statements read it; a server cannot be given another one here.
        foreach (var clock in (string[])["now", "durable"])
        {
            await _leases.Database.ExecuteAsync(
                $"""
                CREATE OR REPLACE FUNCTION scheduler_locks.{clock}() RETURNS bigint LANGUAGE plpgsql VOLATILE AS $$
                BEGIN RETURN (extract(epoch FROM clock_timestamp() + interval '{seconds} s') * 1000000)::bigint; END $$
                """
            );
        }
        var next = Granted(await locks.TryAcquireAsync(LockKey.From("job:released"), "test", Long, Stop));

        Assert.False(lease.IsHeld);
        Assert.Equal(LossReason.ServerClockJumped, lease.LossReason);
        Assert.True(next.Token > released.Token, $"{next.Token} after {released.Token}");

        static Lease Granted(LockAttempt attempt) => Assert.IsType<LockAttempt.Granted>(attempt).Lease;
    }

    [Fact]
    public async Task Without_a_connection_that_listens_it_says_so_and_those_who_wait_look_again()
    {
        var store = _leases.Store();
        var info = await store.CheckAsync(LockStoreUse.Unused, Stop);

        Assert.Contains("Scheduler:Locks:ListenConnectionString", Assert.Single(info.Warnings), StringComparison.Ordinal);
        Assert.False(store.Traits.PushesReleases);
        var hearing = _leases.Store(listening: _leases.Database.ConnectionString);
        Assert.Empty((await hearing.CheckAsync(LockStoreUse.Unused, Stop)).Warnings);
    }

    [Fact]
    public async Task A_listener_that_hears_nothing_is_named_to_those_who_subscribe()
    {
        await using var proxy = await PgBouncerServer.StartAsync(_leases.Database.ConnectionString);
        var deaf = await _leases.ConnectAsync(listening: proxy.Through(_leases.Database.ConnectionString));

        var refused = await Assert.ThrowsAsync<StoreUnavailableException>(() => deaf.Store.SubscribeAsync(_ => { }, Stop).AsTask());

        Assert.Contains("Scheduler:Locks:ListenConnectionString", refused.Message, StringComparison.Ordinal);
        await Eventually.Holds(
            () =>
                _leases.Log.Entries.Any(e =>
                    e.Id.Id == 2206 && e.Message.Contains("who waits for a key looks every second", StringComparison.Ordinal)
                ),
            Bound
        );
        await deaf.AcquireAsync(Key, Long);
    }

    [Fact]
    public async Task A_row_that_somebody_has_locked_holds_up_its_own_key_alone()
    {
        var client = await _leases.ConnectAsync(options: new LeaseOptions { CallTimeout = TimeSpan.FromMilliseconds(500) });
        var other = LockKey.From("job:other");
        await client.ReleaseAsync(await client.AcquireAsync(Key, Long));
        var renewed = await client.AcquireAsync(LockKey.From("job:renewed"), Long);
        await using var locked = await LockedAsync(Key);

        var stuck = client.TryAsync(Key, client.NewOwner(), Long).AsTask();
        var granted = await client.AcquireAsync(other, Long);

        Assert.Equal(RenewalOutcome.Renewed, Assert.Single(await client.RenewAsync(Long, renewed)));
        Assert.True((await client.ReleaseAsync(granted)).Released);
        var unavailable = Assert.IsType<AcquireResult.Unavailable>(await stuck.WaitAsync(Bound, Stop));
        Assert.Contains("pg_blocking_pids", unavailable.Reason, StringComparison.Ordinal);
    }

    // Until it is disposed of, which also closes the connection.
    private async Task<IAsyncDisposable> LockedAsync(LockKey key)
    {
        var connection = new Npgsql.NpgsqlConnection(_leases.Database.With(b => b.Pooling = false));
        await connection.OpenAsync(Stop);
        await using var command = new Npgsql.NpgsqlCommand(
            $"BEGIN; SELECT FROM scheduler_locks.leases WHERE key = '{key}' FOR UPDATE",
            connection
        );
        await command.ExecuteNonQueryAsync(Stop);
        return connection;
    }
}
