using System.Diagnostics;
using System.Net;
using System.Net.Sockets;
using Npgsql;
using Scheduler.Locking;
using Scheduler.Postgres.State;
using Scheduler.Testing.Servers;

namespace Scheduler.Tests.Postgres;

/// <summary>What leases on PostgreSQL refuse, and how they say so: place, reason and remedy, no secret, in bounded time.</summary>
public sealed class PostgresLeaseRefusalTests : IAsyncLifetime
{
    private LeaseDatabase _leases = null!;

    private static CancellationToken Stop => TestContext.Current.CancellationToken;

    public async ValueTask InitializeAsync() => _leases = await LeaseDatabase.CreateAsync();

    public ValueTask DisposeAsync() => _leases.DisposeAsync();

    [Fact]
    public async Task A_wrong_password_stops_the_host() =>
        await RefusedAsync(
            _leases.Database.With(b => b.Password = "other-secret-1"),
            isPermanent: true,
            "28P01",
            "Scheduler:Locks:ConnectionString"
        );

    [Fact]
    public async Task A_server_that_is_not_there_is_asked_again() =>
        await RefusedAsync(_leases.Database.With(b => b.Port = FreePort.Next()), isPermanent: false, "Check that the server runs");

    [Fact]
    public async Task A_server_that_accepts_and_says_nothing_ends_in_time()
    {
        using var silent = new TcpListener(IPAddress.Loopback, 0);
        silent.Start();
        var port = ((IPEndPoint)silent.LocalEndpoint).Port;
        var watch = Stopwatch.StartNew();

        await RefusedAsync(_leases.Database.With(b => b.Port = port), isPermanent: false, "did not answer in time");

        Assert.InRange(watch.Elapsed, TimeSpan.Zero, TimeSpan.FromSeconds(8));
    }

    [Fact]
    public async Task A_role_that_may_not_make_the_table_is_told_how_it_may()
    {
        var user = $"role_{Guid.NewGuid():n}";
        await _leases.Database.ExecuteAsync($"CREATE ROLE {user} LOGIN PASSWORD '{PostgresServer.Password}'");
        var role = _leases.Database.With(b => b.Username = user);

        var remedy = $"CREATE SCHEMA IF NOT EXISTS \"scheduler_locks\" AUTHORIZATION \"{user}\"";
        await RefusedAsync(role, isPermanent: true, "the lock store needs", remedy, "docs/postgres.md");

        // The remedy works.
        await _leases.Database.ExecuteAsync(remedy);
        await (await _leases.ConnectAsync(role)).AcquireAsync(LockKey.From("job:a"), LeaseDatabase.Long);
    }

    [Fact]
    public async Task A_server_that_only_reads_stops_the_host()
    {
        var user = $"role_{Guid.NewGuid():n}";
        await _leases.Database.ExecuteAsync(
            $"CREATE ROLE {user} LOGIN PASSWORD '{PostgresServer.Password}'; ALTER ROLE {user} SET default_transaction_read_only = on"
        );

        await RefusedAsync(_leases.Database.With(b => b.Username = user), isPermanent: true, "read-only", "ALTER ROLE");
    }

    [Fact]
    public async Task A_table_of_a_later_version_stops_the_host()
    {
        await _leases.ConnectAsync();
        await _leases.Database.ExecuteAsync("UPDATE scheduler_locks.scheduler_schema SET version = 99, min_reader = 99");

        await RefusedAsync(
            _leases.Database.ConnectionString,
            isPermanent: true,
            "version 99",
            "Run the newer release",
            "Scheduler:Locks:Schema"
        );
    }

    [Fact]
    public async Task The_schema_of_a_State_is_refused_and_not_touched()
    {
        await _leases.Database.OpenAsync();

        var store = _leases.Store(schema: PostgresState.DefaultSchema);
        var refused = await Assert.ThrowsAsync<StoreUnavailableException>(() => store.CheckAsync(LockStoreUse.Unused, Stop).AsTask());

        Assert.True(refused.IsPermanent);
        Assert.Contains("belongs to something else", refused.Message, StringComparison.Ordinal);
        Assert.Contains("Scheduler:Locks:Schema", refused.Message, StringComparison.Ordinal);
        Assert.Equal(0, await _leases.Database.AskAsync<long>("SELECT count(*) FROM pg_tables WHERE tablename = 'leases'"));
    }

    [Fact]
    public async Task A_server_without_a_free_connection_is_named()
    {
        var user = $"role_{Guid.NewGuid():n}";
        await _leases.Database.ExecuteAsync($"CREATE ROLE {user} LOGIN PASSWORD '{PostgresServer.Password}' CONNECTION LIMIT 0");

        await RefusedAsync(
            _leases.Database.With(b => b.Username = user),
            isPermanent: false,
            "no free connection",
            "max_connections",
            "up to 6"
        );
    }

    [Fact]
    public async Task A_table_that_was_dropped_under_a_replica_is_made_again()
    {
        var client = await _leases.ConnectAsync();
        await _leases.Database.ExecuteAsync("DROP SCHEMA scheduler_locks CASCADE");

        var unavailable = Assert.IsType<AcquireResult.Unavailable>(
            await client.TryAsync(LockKey.From("job:a"), client.NewOwner(), LeaseDatabase.Long)
        );

        Assert.Contains("stop all replicas, drop the whole schema", unavailable.Reason, StringComparison.Ordinal);
        await client.Store.CheckAsync(LockStoreUse.Unused, Stop);
        await client.AcquireAsync(LockKey.From("job:a"), LeaseDatabase.Long);
    }

    [Fact]
    public void Old_servers_are_refused()
    {
        var place = new StatePlace("Host=db;Port=5433;Database=shop;Username=u;Password=secret-9", "scheduler_locks", PlaceUse.Locks);
        var old = new ServerFacts(120022, "12.22", false, false, TimeSpan.FromSeconds(5), true, true, "", 0);

        var refused = Assert.Throws<Scheduler.Runs.StateUnavailableException>(() => old.ThrowIfUnfit(place));

        Assert.Contains("the lock store needs 13 or later", refused.Message, StringComparison.Ordinal);
        Assert.Contains("Scheduler:Locks:ConnectionString", refused.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Keys_and_durations_are_checked_before_anything_is_sent()
    {
        var client = await _leases.ConnectAsync();
        var tooLong = LockKey.Problem(new string('k', LockKey.MaxBytes + 1));

        Assert.Contains("513 bytes of UTF-8; at most 512", tooLong, StringComparison.Ordinal);
        await Assert.ThrowsAsync<ArgumentException>(() => client.TryAsync(default, client.NewOwner(), LeaseDatabase.Long).AsTask());
        await Assert.ThrowsAsync<ArgumentOutOfRangeException>(() =>
            client.TryAsync(LockKey.From("a"), client.NewOwner(), TimeSpan.FromMinutes(11)).AsTask()
        );
        // A purpose may hold anything.
        await client.AcquireAsync(LockKey.From("a"), LeaseDatabase.Long, "nul \0 and half \ud800");
        Assert.Equal("nul \ufffd and half \ufffd", (await client.ReadAsync(LockKey.From("a")))!.Purpose);
    }

    private async Task RefusedAsync(string connectionString, bool isPermanent, params string[] says)
    {
        var store = _leases.Store(connectionString);
        var refused = await Assert.ThrowsAsync<StoreUnavailableException>(() => store.CheckAsync(LockStoreUse.Unused, Stop).AsTask());

        Assert.Equal(isPermanent, refused.IsPermanent);
        var builder = new NpgsqlConnectionStringBuilder(connectionString);
        string[] expected = [$"{builder.Host}:{builder.Port}", $"'{builder.Database}'", .. says];
        Assert.All(expected, text => Assert.Contains(text, refused.ToString(), StringComparison.Ordinal));
        Assert.DoesNotContain(builder.Password!, refused.ToString(), StringComparison.Ordinal);
        Assert.DoesNotContain(_leases.Log.Entries, e => e.Message.Contains(builder.Password!, StringComparison.Ordinal));
    }
}
