using Microsoft.Extensions.Logging.Abstractions;
using Npgsql;
using Scheduler.Hosting;
using Scheduler.Locking;
using Scheduler.Postgres.Leases;
using Scheduler.Postgres.SessionLeases;
using Scheduler.Testing.Servers;
using Scheduler.Tests.Conformance;
using Scheduler.Time;

namespace Scheduler.Tests.Postgres;

/// <summary>Locks on a server that fails and whose standby, which copies it by streaming, takes its place.</summary>
public sealed class PostgresLockFailOverTests : IAsyncLifetime
{
    private static readonly LockKey Key = LockKey.From("job:settle");
    private static readonly TimeSpan Long = TimeSpan.FromSeconds(30);

    private readonly List<ILeaseStore> _stores = [];
    private StandbyPair _pair = null!;
    private string _database = "";

    private static CancellationToken Stop => TestContext.Current.CancellationToken;

    public async ValueTask InitializeAsync()
    {
        _pair = await StandbyPair.StartAsync();
        _database = new NpgsqlConnectionStringBuilder(await _pair.Primary.CreateDatabaseAsync()).Database!;
        await _pair.CopiedAsync();
    }

    public async ValueTask DisposeAsync()
    {
        foreach (var store in _stores)
        {
            await store.DisposeAsync();
        }
        await _pair.DisposeAsync();
    }

    [Fact]
    public async Task An_asynchronous_standby_forgets_a_grant_that_was_confirmed_and_the_store_says_so_before()
    {
        var (holder, info) = await OpenAsync(_pair.Primary, Rows);
        Assert.Equal(Level.Efficiency, info.Level);
        Assert.Contains(info.Warnings, w => w.Contains("copy it asynchronously", StringComparison.Ordinal));
        await _pair.CopiedAsync();

        // The standby falls behind, and nobody waits for it.
        _pair.Wire.ToClient.Hold();
        var granted = await holder.AcquireAsync(Key, Long);
        await _pair.FailOverAsync();

        // The second grant of one key while the first lasts; its number follows the clock, so a fence still tells the two apart.
        var (other, _) = await OpenAsync(_pair.Standby, Rows);
        var second = await other.AcquireAsync(Key, Long);
        Assert.True(second.Number > granted.Number, $"{second.Number} after {granted.Number}");
    }

    [Fact]
    public async Task A_synchronous_standby_has_every_grant_that_was_confirmed_and_its_numbers_go_on()
    {
        await _pair.SynchronousAsync();
        var (holder, info) = await OpenAsync(_pair.Primary, Rows);
        Assert.Equal((Level.Correctness, 0), (info.Level, info.Warnings.Count));

        // The standby falls behind: nothing is confirmed until it is there.
        _pair.Wire.ToClient.Hold();
        var asking = holder.AcquireAsync(Key, Long);
        await _pair.WaitedForAsync();
        Assert.False(asking.IsCompleted);
        _pair.Wire.Heal();
        var granted = await asking;
        await _pair.FailOverAsync();

        var (other, _) = await OpenAsync(_pair.Standby, Rows);
        await other.ExpectHeldAsync(Key);
        Assert.Equal(granted.Number, (await other.ReadAsync(Key))!.Number);
        await other.ReleaseAsync(granted);
        var next = await other.AcquireAsync(Key, Long);
        Assert.True(next.Number > granted.Number, $"{next.Number} after {granted.Number}");
    }

    [Fact]
    public async Task Locks_of_a_session_end_with_the_server_that_fails()
    {
        var (holder, info) = await OpenAsync(_pair.Primary, Sessions);
        // With a standby of whatever kind: no server takes over another one's sessions.
        Assert.Equal(Level.Efficiency, info.Level);
        await _pair.CopiedAsync();
        _pair.Wire.ToClient.Hold();
        var granted = await holder.AcquireAsync(Key, Long);

        await _pair.FailOverAsync();

        // The session is gone, so its holder is told at its next renewal; numbers go on whatever the standby had of them.
        Assert.Equal([RenewalOutcome.Lost], await holder.RenewAsync(Long, granted));
        var (other, _) = await OpenAsync(_pair.Standby, Sessions);
        var next = await other.AcquireAsync(Key, Long);
        Assert.True(next.Number > granted.Number, $"{next.Number} after {granted.Number}");
    }

    private static ILeaseStore Rows(BackendContext context, string place) =>
        new PostgresLeaseStore(context, place, listenConnectionString: place);

    private static ILeaseStore Sessions(BackendContext context, string place) => new PostgresSessionLeaseStore(context, place);

    private async Task<(StoreClient Client, LeaseStoreInfo Info)> OpenAsync(
        PostgresServer server,
        Func<BackendContext, string, ILeaseStore> create
    )
    {
        var replica = ReplicaIdentity.Create("replica");
        var context = new BackendContext("test", replica, new LeaseOptions(), BootTimeProvider.Instance, NullLoggerFactory.Instance);
        var store = create(context, server.ConnectionString(_database));
        _stores.Add(store);
        var info = await store.CheckAsync(LockStoreUse.Unused, Stop);
        return (new StoreClient(store, replica, Stop), info);
    }
}
