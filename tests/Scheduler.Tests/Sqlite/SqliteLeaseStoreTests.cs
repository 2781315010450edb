using Microsoft.Data.Sqlite;
using Scheduler.Leases;
using Scheduler.Locking;
using Scheduler.Sqlite.Files;
using Scheduler.Sqlite.Leases;
using Scheduler.Testing;
using Scheduler.Time;

namespace Scheduler.Tests.Sqlite;

/// <summary>What is special about the SQLite locks within one process.</summary>
public sealed class SqliteLeaseStoreTests : IAsyncDisposable
{
    private static readonly TimeSpan Long = TimeSpan.FromSeconds(30);
    private static readonly LockKey Key = LockKey.From("job:settle");
    private readonly LockFolder _files = new();

    private static CancellationToken Stop => TestContext.Current.CancellationToken;

    public ValueTask DisposeAsync() => _files.DisposeAsync();

    [Fact]
    public async Task A_lease_of_an_earlier_boot_is_dead_and_numbers_go_on()
    {
        var before = await _files.ConnectAsync();
        var grant = await before.AcquireAsync(Key, Long);

        var after = await _files.ConnectAsync(LockFolder.OtherBoot());

        Assert.Null(await after.ReadAsync(Key));
        Assert.Empty(await after.ListAsync(""));
        Assert.True((await after.AcquireAsync(Key, Long)).Number > grant.Number);
        Assert.Equal(RenewalOutcome.Lost, Assert.Single(await before.RenewAsync(Long, grant)));
    }

    [Fact]
    public async Task Numbers_do_not_fall_when_the_wall_clock_is_set_back()
    {
        var time = new FakeTime(new DateTimeOffset(2030, 1, 1, 0, 0, 0, TimeSpan.Zero));
        var clock = new HostClock("boot", time);
        var client = await _files.ConnectAsync(clock);
        var first = await client.AcquireAsync(Key, Long);
        await client.ReleaseAsync(first);
        time.SetWallClock(new DateTimeOffset(2020, 1, 1, 0, 0, 0, TimeSpan.Zero));

        var second = await client.AcquireAsync(Key, Long);

        Assert.Equal(new DateTimeOffset(2030, 1, 1, 0, 0, 0, TimeSpan.Zero).ToUnixTimeMilliseconds() * 1000, first.Number);
        Assert.Equal(first.Number + 1, second.Number);
    }

    [Fact]
    public async Task A_missing_lock_file_proves_no_death()
    {
        var holder = await _files.ConnectAsync();
        await holder.AcquireAsync(Key, Long);
        var other = await _files.ConnectAsync();
        // As the row of a process whose lock file somebody deleted: this one was never there.
        await other.TryAsync(LockKey.From("job:b"), new LeaseOwner("nobody-0", 1), Long);

        Assert.Equal("nobody-0", (await holder.ExpectHeldAsync(LockKey.From("job:b"))).Holder);
    }

    [Fact]
    public async Task A_lock_file_that_nobody_holds_proves_a_death()
    {
        var client = await _files.ConnectAsync();
        await client.TryAsync(Key, new LeaseOwner("dead-0", 1), Long);
        await client.ExpectHeldAsync(Key);
        await File.WriteAllTextAsync(_files.File + ".replicas/dead-0.lock", "", Stop);

        Assert.Null(await client.ReadAsync(Key));
        await client.AcquireAsync(Key, Long);
    }

    [Fact]
    public async Task A_store_that_is_disposed_of_with_grants_keeps_them_and_one_without_leaves_nothing()
    {
        var (kept, gone) = (ReplicaIdentity.Create("kept"), ReplicaIdentity.Create("gone"));
        var (holder, idle) = (_files.Store(kept), _files.Store(gone));
        await idle.CheckAsync(LockStoreUse.Unknown, Stop);
        await holder.AcquireAsync(new AcquireRequest(Key, new LeaseOwner(kept.Id, 1), "test", Long), Stop);

        await holder.DisposeAsync();
        await idle.DisposeAsync();

        var other = await _files.ConnectAsync();
        Assert.Equal(kept.Id, (await other.ExpectHeldAsync(Key)).Holder);
        Assert.Equal(FileLockState.Held, FileLock.Probe(_files.ReplicaFile(kept)));
        Assert.False(File.Exists(_files.ReplicaFile(gone)));
    }

    [Fact]
    public async Task A_provider_that_ends_before_a_body_leaves_its_lease_until_the_process_is_gone()
    {
        var (slow, done) = (ReplicaIdentity.Create("slow"), ReplicaIdentity.Create("done"));
        var options = new LeaseOptions();
        var provider = new LockProvider(_files.Store(slow), options, slow, BootTimeProvider.Instance);
        var orderly = new LockProvider(_files.Store(done), options, done, BootTimeProvider.Instance);
        var running = Assert.IsType<LockAttempt.Granted>(await provider.TryAcquireAsync(Key, "a body", Long, Stop)).Lease;
        await Assert
            .IsType<LockAttempt.Granted>(await orderly.TryAcquireAsync(LockKey.From("job:b"), "a body", Long, Stop))
            .Lease.ReleaseAsync(Stop);

        await provider.DisposeAsync();
        await orderly.DisposeAsync();

        Assert.False(running.IsHeld);
        Assert.Equal(LossReason.ProviderDisposed, running.LossReason);
        // Too late: the body ended after the store, so the key is free with the process, or at its time.
        Assert.False(await running.ReleaseAsync(Stop));
        var other = await _files.ConnectAsync();
        Assert.Equal(slow.Id, (await other.ExpectHeldAsync(Key)).Holder);
        Assert.Equal(FileLockState.Held, FileLock.Probe(_files.ReplicaFile(slow)));
        Assert.False(File.Exists(_files.ReplicaFile(done)));
    }

    [Fact]
    public async Task Two_stores_of_one_replica_share_its_lock_file()
    {
        var replica = ReplicaIdentity.Create("replica");
        var (one, two) = (_files.Store(replica), _files.Store(replica));
        await one.CheckAsync(LockStoreUse.Unknown, Stop);
        await two.CheckAsync(LockStoreUse.Unknown, Stop);

        await one.DisposeAsync();

        Assert.Equal(FileLockState.Held, FileLock.Probe(_files.ReplicaFile(replica)));
        await two.DisposeAsync();
        Assert.False(File.Exists(_files.ReplicaFile(replica)));
    }

    [Fact]
    public async Task Leases_that_nobody_released_do_not_pile_up()
    {
        var time = new FakeTime();
        var client = await _files.ConnectAsync(new HostClock("boot", time));
        for (var i = 0; i < 1_100; i++)
        {
            await client.AcquireAsync(LockKey.From($"occ:{i}"), TimeSpan.FromMilliseconds(50));
            time.Advance(TimeSpan.FromMilliseconds(1));
        }

        Assert.InRange(Count("leases"), 1, 300);
    }

    [Fact]
    public async Task A_deleted_database_is_noticed_and_its_successor_waits_for_the_longest_lease()
    {
        var time = new FakeTime();
        var client = await _files.ConnectAsync(new HostClock("boot", time));
        await client.AcquireAsync(Key, Long);
        File.Delete(_files.File);
        File.Delete(_files.File + "-wal");
        File.Delete(_files.File + "-shm");

        var refused = Assert.IsType<AcquireResult.Unavailable>(await client.TryAsync(Key, client.NewOwner(), Long));
        Assert.Contains("deleted", refused.Reason, StringComparison.Ordinal);
        var problem = await Assert.ThrowsAsync<StoreUnavailableException>(() =>
            client.Store.CheckAsync(LockStoreUse.Unknown, Stop).AsTask()
        );
        Assert.Equal(Long, problem.RetryAfter);
        Assert.IsType<AcquireResult.Unavailable>(await client.TryAsync(Key, client.NewOwner(), Long));

        time.Advance(Long);
        await client.Store.CheckAsync(LockStoreUse.Unknown, Stop);
        await client.AcquireAsync(Key, Long);
    }

    [Fact]
    public async Task A_new_file_where_State_knows_of_an_earlier_one_waits_for_the_longest_lease()
    {
        var time = new FakeTime();
        var store = _files.Store(clock: new HostClock("boot", time));

        var problem = await Assert.ThrowsAsync<StoreUnavailableException>(() => store.CheckAsync(LockStoreUse.Used, Stop).AsTask());

        Assert.False(problem.IsPermanent);
        Assert.Equal(Long, problem.RetryAfter);
        time.Advance(Long);
        await store.CheckAsync(LockStoreUse.Used, Stop);
    }

    [Fact]
    public async Task A_disposed_store_answers_that_it_is()
    {
        var client = await _files.ConnectAsync();
        await client.Store.DisposeAsync();

        var answer = Assert.IsType<AcquireResult.Unavailable>(await client.TryAsync(Key, client.NewOwner(), Long));
        Assert.False(answer.OutcomeUnknown);
        await Assert.ThrowsAsync<StoreUnavailableException>(() => client.ReadAsync(Key));
    }

    private long Count(string table)
    {
        using var connection = new SqliteConnection($"Data Source={_files.File};Pooling=False");
        connection.Open();
        using var command = connection.CreateCommand();
        command.CommandText = $"SELECT count(*) FROM {table}";
        return (long)command.ExecuteScalar()!;
    }
}
